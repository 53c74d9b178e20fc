"""Whisper checkpoints as transformers saves them: config.json, safetensors, tokenizer and generation settings."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgewhisper.artifact import AudioSettings, ModelDimensions, ModelInfo
from edgewhisper.errors import CheckpointError

from .checkpoint import (
    LARGEST_SIZE,
    MOST_LAYERS,
    Checkpoint,
    Vocabulary,
    check_shapes,
    expected_shapes,
    tensors_sha256,
)
from .generation_settings import read_token_ids
from .json_file import read_json_object
from .safetensors_file import open_safetensors
from .stored_tensors import LazyTensors, StoredTensor
from .tokenizer import read_tokenizer_json, write_tokenizer_json

RANDOM_WEIGHTS_KEY = "edgewhisper_random_weights"
SHORT_WINDOWS_KEY = "edgewhisper_short_windows"
"""True where error rates with windows as long as their speech were measured; see docs/usage.md."""
WEIGHTS = "model.safetensors"
WEIGHTS_INDEX = "model.safetensors.index.json"
_OUTPUT_HEAD = "proj_out.weight"
_TABLE = "decoder.embed_tokens.weight"


def read_transformers_folder(
    folder: Path, *, name: str, source: str, licence: str | None = None
) -> Checkpoint:
    """Read a folder written by transformers' `save_pretrained`.

    Args:
        folder: with config.json, model.safetensors (or its shards), tokenizer.json or vocab.json and merges.txt, and,
            where there are some, generation_config.json and preprocessor_config.json.
        name: the model's name for the manifest.
        source: how the checkpoint was named, for the manifest.
        licence: of the weights, where known.

    Raises:
        CheckpointError: a file is missing or damaged, it is not a Whisper model, or the parts contradict each other.
    """
    config_path = folder / "config.json"
    config = read_json_object(config_path)
    dimensions = read_dimensions(config, config_path)
    _check_audio(folder, dimensions)
    stored = _canonical(_open_weights(folder))
    tensors = LazyTensors({key: stored[key] for key in expected_shapes(dimensions) if key in stored})
    check_shapes({key: stored[key].shape for key in tensors}, dimensions, str(folder))
    if _OUTPUT_HEAD in stored and not np.array_equal(stored[_OUTPUT_HEAD].load(), tensors[_TABLE]):
        raise CheckpointError(
            f"{folder}: '{_OUTPUT_HEAD}' differs from '{_TABLE}'; only Whisper models whose output head is the "
            "embedding table can be built"
        )
    vocabulary = read_vocabulary(folder, dimensions.vocab_size)
    return Checkpoint(
        model=ModelInfo(
            name=name,
            source=source,
            checkpoint_sha256=tensors_sha256(tensors),
            licence=licence,
            random_weights=config.get(RANDOM_WEIGHTS_KEY) is True,
            short_windows=config.get(SHORT_WINDOWS_KEY) is True,
        ),
        dimensions=dimensions,
        token_ids=read_token_ids(folder, config, vocabulary),
        vocabulary=vocabulary,
        tensors=tensors,
    )


def read_dimensions(config: Mapping[str, Any], path: Path) -> ModelDimensions:
    """The model's shape from its config.json.

    Raises:
        CheckpointError: another architecture, a missing or wrong value, or a variant that no Whisper model uses.
    """
    kind = config.get("model_type")
    if kind != "whisper":
        named = ", ".join(map(str, config.get("architectures") or [kind or "no architecture named"]))
        raise CheckpointError(f"{path}: not a Whisper model ({named}); only Whisper checkpoints can be built")
    if config.get("activation_function", "gelu") != "gelu" or config.get("scale_embedding", False):
        raise CheckpointError(
            f"{path}: 'activation_function' must be gelu and 'scale_embedding' false, as in Whisper"
        )

    def number(key: str, most: int = LARGEST_SIZE) -> int:
        value = config.get(key)
        if type(value) is not int or value < 1:
            raise CheckpointError(
                f"{path}: '{key}' must be a positive number, not {value!r}; restore the file"
            )
        if value > most:
            raise CheckpointError(
                f"{path}: '{key}' is more than {most}, the most of any model; restore the file"
            )
        return value

    dimensions = ModelDimensions(
        n_mels=number("num_mel_bins"),
        d_model=number("d_model"),
        encoder_layers=number("encoder_layers", MOST_LAYERS),
        encoder_heads=number("encoder_attention_heads"),
        encoder_ffn=number("encoder_ffn_dim"),
        decoder_layers=number("decoder_layers", MOST_LAYERS),
        decoder_heads=number("decoder_attention_heads"),
        decoder_ffn=number("decoder_ffn_dim"),
        vocab_size=number("vocab_size"),
        max_source_positions=number("max_source_positions"),
        max_target_positions=number("max_target_positions"),
    )
    if dimensions.d_model % dimensions.encoder_heads or dimensions.d_model % dimensions.decoder_heads:
        raise CheckpointError(
            f"{path}: 'd_model' is not a multiple of the number of attention heads; restore the file"
        )
    return dimensions


def read_vocabulary(folder: Path, vocab_size: int) -> Vocabulary:
    """The vocabulary of a folder: tokenizer.json, else vocab.json, merges.txt and, where there is one, added_tokens.json.

    Raises:
        CheckpointError: they are missing, damaged or of another model.
    """
    path = folder / "tokenizer.json"
    if path.is_file():
        return read_tokenizer_json(path.read_bytes(), vocab_size, str(path))
    path, merges_path = folder / "vocab.json", folder / "merges.txt"
    if not path.is_file() or not merges_path.is_file():
        raise CheckpointError(
            f"{folder}: no tokenizer.json, nor vocab.json with merges.txt; download the tokenizer too"
        )
    added_path = folder / "added_tokens.json"
    added = read_json_object(added_path) if added_path.is_file() else {}
    vocabulary = read_json_object(path)
    if not all(isinstance(token_id, int) for token_id in (*vocabulary.values(), *added.values())):
        raise CheckpointError(f"{path}: token ids must be numbers; download the checkpoint again")
    lines = merges_path.read_text(encoding="utf-8", errors="replace").splitlines()
    merges = [
        (left, right)
        for left, _, right in (line.partition(" ") for line in lines)
        if right and left != "#version:"
    ]
    special = {
        token: token_id
        for token, token_id in vocabulary.items()
        if token.startswith("<|") and token.endswith("|>")
    }
    return read_tokenizer_json(
        write_tokenizer_json(vocabulary, merges, special | added), vocab_size, str(path)
    )


def _open_weights(folder: Path) -> dict[str, StoredTensor]:
    index_path = folder / WEIGHTS_INDEX
    if (folder / WEIGHTS).is_file():
        return open_safetensors(folder / WEIGHTS)
    if index_path.is_file():
        shard_of = read_json_object(index_path).get("weight_map")
        if not isinstance(shard_of, dict) or not all(isinstance(file, str) for file in shard_of.values()):
            raise CheckpointError(f"{index_path}: no valid 'weight_map'; download the checkpoint again")
        stored: dict[str, StoredTensor] = {}
        for file in sorted(set(shard_of.values())):
            if Path(file).name != file or file in (".", ".."):
                raise CheckpointError(
                    f"{index_path}: shard {file!r} is not a plain file name; do not use this checkpoint"
                )
            stored |= open_safetensors(folder / file)
        return stored
    if any(folder.glob("pytorch_model*.bin")):
        raise CheckpointError(
            f"{folder}: only pytorch_model.bin, a pickle; convert it with transformers: "
            "WhisperForConditionalGeneration.from_pretrained(DIR).save_pretrained(DIR, safe_serialization=True)"
        )
    raise CheckpointError(f"{folder}: no {WEIGHTS}; the checkpoint is incomplete, download it again")


def _canonical(stored: Mapping[str, StoredTensor]) -> dict[str, StoredTensor]:
    """The same tensors under canonical names; a head saved alone serves as the table that it is tied to."""
    found = {name.removeprefix("model."): tensor for name, tensor in stored.items()}
    if _TABLE not in found and _OUTPUT_HEAD in found:
        found[_TABLE] = found.pop(_OUTPUT_HEAD)
    return found


def _check_audio(folder: Path, dimensions: ModelDimensions) -> None:
    path = folder / "preprocessor_config.json"
    if path.is_file():
        settings = read_json_object(path)
    elif (path := folder / "processor_config.json").is_file():
        settings = read_json_object(path).get("feature_extractor") or {}
    else:
        return
    whisper = AudioSettings(n_mels=dimensions.n_mels, n_frames=2 * dimensions.max_source_positions)
    expected = {
        "feature_size": whisper.n_mels,
        "sampling_rate": whisper.sample_rate,
        "n_fft": whisper.n_fft,
        "hop_length": whisper.hop_length,
    }
    for key, value in expected.items():
        if settings.get(key, value) != value:
            raise CheckpointError(
                f"{path}: '{key}' is {settings[key]!r}, the model needs {value}; restore the file"
            )
