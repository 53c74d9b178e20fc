"""Small checkpoints, and writers of the formats that the package only reads."""

import struct
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgewhisper.artifact import ModelDimensions
from edgewhisper.errors import CheckpointError
from edgewhisper.models.checkpoint import Checkpoint, Vocabulary
from edgewhisper.models.generation import find_token_ids, special_tokens
from edgewhisper.models.random_weights import write_random_folder
from edgewhisper.models.reader import read_checkpoint
from edgewhisper.models.tokenizer import build_vocabulary, to_bytes

Array = NDArray[Any]

# Bytes in GPT-2's order, then merges, each of two earlier tokens.
_MERGED = (
    b" t",
    b"he",
    b" the",
    b"in",
    b" a",
    b" l",
    b"ig",
    b"ht",
    b"ight",
    b" light",
    b" -",
    b" '",
    b"((",
    b"\xe2\x99",
)
_LANGUAGES = 99


def small_vocabulary() -> Vocabulary:
    """The 256 bytes, a few merges and all of Whisper's special tokens."""
    alphabet = [chr(i) for i in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
    return build_vocabulary([*map(to_bytes, alphabet), *_MERGED], special_tokens(_LANGUAGES))


SMALL = ModelDimensions(
    n_mels=80, d_model=64, encoder_layers=2, encoder_heads=2, encoder_ffn=256, decoder_layers=1, decoder_heads=2,
    decoder_ffn=256, vocab_size=len(small_vocabulary().tokens), max_source_positions=100, max_target_positions=48,
)  # fmt: skip


def write_small_folder(
    folder: Path, *, tokens: int | None = None, multilingual: bool = True, seed: int = 0
) -> Path:
    """A transformers folder of the shape `SMALL` with random weights."""
    vocabulary = small_vocabulary()
    ids = find_token_ids(vocabulary.tokens, multilingual=multilingual, source="small")
    write_random_folder(folder, SMALL, vocabulary, ids, seed=seed, tokens=tokens)
    return folder


def read_small(folder: Path) -> Checkpoint:
    """The checkpoint that `write_small_folder` writes into `folder`."""
    return read_checkpoint(write_small_folder(folder))


def openai_model(dimensions: ModelDimensions) -> Any:
    """openai-whisper's model of these dimensions, its weights drawn anew so that every tensor is different."""
    import torch
    from whisper.model import ModelDimensions as OpenAIDimensions
    from whisper.model import Whisper

    torch.manual_seed(1)
    model = Whisper(OpenAIDimensions(**openai_dims(dimensions)))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def openai_tokenizer(*, multilingual: bool, languages: int = _LANGUAGES) -> Any:
    """openai-whisper's own tokenizer, the oracle for special tokens, text and rules."""
    import whisper.tokenizer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its vocabulary file open
        return whisper.tokenizer.get_tokenizer(multilingual, num_languages=languages)


def openai_dims(dimensions: ModelDimensions) -> dict[str, int]:
    """Dimensions as OpenAI's checkpoints name them."""
    return {
        "n_mels": dimensions.n_mels,
        "n_audio_ctx": dimensions.max_source_positions,
        "n_audio_state": dimensions.d_model,
        "n_audio_head": dimensions.encoder_heads,
        "n_audio_layer": dimensions.encoder_layers,
        "n_vocab": dimensions.vocab_size,
        "n_text_ctx": dimensions.max_target_positions,
        "n_text_state": dimensions.d_model,
        "n_text_head": dimensions.decoder_heads,
        "n_text_layer": dimensions.decoder_layers,
    }


def write_pt(path: Path, dimensions: ModelDimensions, state: Mapping[str, Array]) -> Path:
    """An OpenAI checkpoint; `state` has OpenAI's names."""
    import torch

    tensors = {name: torch.from_numpy(np.array(array)) for name, array in state.items()}
    torch.save({"dims": openai_dims(dimensions), "model_state_dict": tensors}, path)
    return path


def write_ggml(
    path: Path,
    dimensions: ModelDimensions,
    state: Mapping[str, Array],
    base_tokens: tuple[bytes, ...],
    encode: Callable[[Array], tuple[int, bytes]] | None = None,
) -> Path:
    """A whisper.cpp model, with an empty mel filter bank.

    Args:
        path: the file.
        dimensions: its shape.
        state: OpenAI's name -> array.
        base_tokens: the vocabulary without special tokens.
        encode: matrix -> ggml's number for the type, and the bytes. Filters are float16 then, the rest float32, as
            whisper.cpp expects. None: all float32.
    """
    dims = openai_dims(dimensions)
    order = "n_vocab n_audio_ctx n_audio_state n_audio_head n_audio_layer n_text_ctx n_text_state n_text_head n_text_layer n_mels"
    n_frequencies = 201
    with path.open("wb") as file:
        file.write(
            struct.pack("<12i", 0x67676D6C, *(dims[key] for key in order.split()), int(encode is not None))
        )
        file.write(struct.pack("<2i", dimensions.n_mels, n_frequencies))
        file.write(bytes(4 * dimensions.n_mels * n_frequencies))
        file.write(struct.pack("<i", len(base_tokens)))
        for token in base_tokens:
            file.write(struct.pack("<i", len(token)) + token)
        for name, array in state.items():
            stored = array[:, None] if name in ("encoder.conv1.bias", "encoder.conv2.bias") else array
            kind, data = 0, stored.astype("<f4").tobytes()
            if encode and array.ndim == 2 and "positional" not in name:
                kind, data = encode(array)
            elif encode and array.ndim == 3:
                kind, data = 1, stored.astype("<f2").tobytes()
            file.write(struct.pack("<3i", stored.ndim, len(name), kind))
            file.write(struct.pack(f"<{stored.ndim}i", *stored.shape[::-1]) + name.encode() + data)
    return path


def error_of(source: str | Path) -> str:
    """The one line with which a checkpoint is refused."""
    with pytest.raises(CheckpointError) as error:
        read_checkpoint(source)
    message = str(error.value)
    assert "\n" not in message
    return message
