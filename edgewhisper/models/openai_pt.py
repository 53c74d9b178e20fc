"""OpenAI's .pt checkpoints: a pickle of `dims` and `model_state_dict`, read without running anything in it."""

import pickle
import warnings
import zipfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from edgewhisper.artifact import ModelInfo
from edgewhisper.errors import CheckpointError, MissingDependencyError

from .checkpoint import Array, Checkpoint, tensors_sha256
from .openai_names import (
    canonical_tensors,
    dimensions_from_hparams,
    original_token_ids,
    vocabulary_beside,
)
from .stored_tensors import StoredTensor
from .whisper_vocabulary import whisper_vocabulary

if TYPE_CHECKING:
    import torch


def read_openai_pt(path: Path) -> Checkpoint:
    """Read an OpenAI checkpoint; float16 and float32 as stored, bfloat16 widened to float32.

    The file holds no vocabulary: it is the tokenizer.json beside it, else Whisper's of that size.

    Raises:
        CheckpointError: damaged, not an OpenAI checkpoint, or a pickle with other objects than tensors and plain data.
        MissingDependencyError: torch, or openai-whisper for the vocabulary, is not installed.
    """
    content = _load(path)
    dims = content.get("dims") if isinstance(content, dict) else None
    state = content.get("model_state_dict") if isinstance(content, dict) else None
    if (
        not isinstance(dims, dict)
        or not isinstance(state, dict)
        or {type(size) for size in dims.values()} != {int}
    ):
        raise CheckpointError(f"{path}: not an OpenAI Whisper checkpoint (no 'dims' and 'model_state_dict')")
    try:
        dimensions = dimensions_from_hparams(**dims, source=str(path))
    except TypeError:
        raise CheckpointError(f"{path}: its 'dims' are not those of Whisper; download it again") from None
    stored = {
        str(name): StoredTensor(tuple(tensor.shape), partial(_as_array, tensor))
        for name, tensor in state.items()
        if hasattr(tensor, "shape")
    }
    tensors = canonical_tensors(stored, dimensions, str(path))
    size = dimensions.vocab_size
    vocabulary = vocabulary_beside(path, size) or whisper_vocabulary(size)
    return Checkpoint(
        model=ModelInfo(name=path.stem, source="OpenAI .pt file", checkpoint_sha256=tensors_sha256(tensors)),
        dimensions=dimensions,
        token_ids=original_token_ids(vocabulary, str(path)),
        vocabulary=vocabulary,
        tensors=tensors,
    )


def _load(path: Path) -> object:
    try:
        import torch
    except ImportError:
        raise MissingDependencyError(
            f"{path}: reading .pt needs torch; install it with: pip install 'edgewhisper[torch]'"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", UserWarning
            )  # torch remarks on odd pickles before it refuses them
            # Files written before torch 1.6 are no zip archives and cannot be mapped.
            is_zip = zipfile.is_zipfile(path)
            content: object = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError:
        raise CheckpointError(
            f"{path}: a pickle that is damaged or holds other objects than tensors; it was not run, do not trust the file"
        ) from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise CheckpointError(f"{path}: damaged, not a file of torch; download it again") from None
    return content


def _as_array(tensor: "torch.Tensor") -> Array:
    import torch

    array: Array = (
        (tensor if tensor.dtype in (torch.float16, torch.float32) else tensor.float()).detach().numpy()
    )
    return array
