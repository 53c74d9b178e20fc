"""The one in-memory form of a Whisper checkpoint, whatever file it came from."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import ModelDimensions, ModelInfo, TokenIds
from edgewhisper.errors import CheckpointError

Array = NDArray[np.generic]

# Far more than any Whisper has (32 layers, 51,866 tokens), and few enough that a damaged number is refused at once: the
# names of all tensors are listed before the weights are looked at.
MOST_LAYERS = 256  # of the encoder or the decoder
LARGEST_SIZE = 2**20  # any other dimension


@dataclass(frozen=True)
class Vocabulary:
    """What turns ids into text and text into ids.

    Attributes:
        tokens: the bytes of every id; special tokens as their literal text, e.g. b"<|en|>".
        tokenizer_json: a `tokenizers` file of the same vocabulary.
    """

    tokens: tuple[bytes, ...]
    tokenizer_json: bytes


@dataclass(frozen=True)
class Checkpoint:
    """A Whisper model before export.

    Attributes:
        tensors: canonical name -> array, read when asked for (a mapping over the file, so that the whole checkpoint is
            never held twice). Names are transformers' without the leading "model.": "encoder.conv1.weight" [d, n_mels, 3],
            "encoder.embed_positions.weight" [max_source_positions, d], "encoder.layers.0.self_attn.q_proj.weight" [d, d],
            "decoder.embed_tokens.weight" [vocab, d] (also the output head), ... Arrays are float32 or float16, as stored.
        model: where the weights come from.
        dimensions: the model's shape.
        token_ids: special tokens and generation rules.
        vocabulary: ids <-> text.
    """

    model: ModelInfo
    dimensions: ModelDimensions
    token_ids: TokenIds
    vocabulary: Vocabulary
    tensors: Mapping[str, Array]


def expected_shapes(dimensions: ModelDimensions) -> dict[str, tuple[int, ...]]:
    """Canonical name -> shape of every tensor of a Whisper model of these dimensions."""
    d = dimensions.d_model
    shapes: dict[str, tuple[int, ...]] = {
        "encoder.conv1.weight": (d, dimensions.n_mels, 3),
        "encoder.conv1.bias": (d,),
        "encoder.conv2.weight": (d, d, 3),
        "encoder.conv2.bias": (d,),
        "encoder.embed_positions.weight": (dimensions.max_source_positions, d),
        "decoder.embed_tokens.weight": (dimensions.vocab_size, d),
        "decoder.embed_positions.weight": (dimensions.max_target_positions, d),
    }
    sides = (
        ("encoder", dimensions.encoder_layers, dimensions.encoder_ffn, ("self_attn",)),
        ("decoder", dimensions.decoder_layers, dimensions.decoder_ffn, ("self_attn", "encoder_attn")),
    )
    for side, layers, ffn, attentions in sides:
        shapes |= {f"{side}.layer_norm.weight": (d,), f"{side}.layer_norm.bias": (d,)}
        for layer in (f"{side}.layers.{i}" for i in range(layers)):
            for attention in (f"{layer}.{name}" for name in attentions):
                for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
                    shapes[f"{attention}.{projection}.weight"] = (d, d)
                    if projection != "k_proj":
                        shapes[f"{attention}.{projection}.bias"] = (d,)
                shapes |= {f"{attention}_layer_norm.weight": (d,), f"{attention}_layer_norm.bias": (d,)}
            shapes |= {
                f"{layer}.fc1.weight": (ffn, d),
                f"{layer}.fc1.bias": (ffn,),
                f"{layer}.fc2.weight": (d, ffn),
                f"{layer}.fc2.bias": (d,),
                f"{layer}.final_layer_norm.weight": (d,),
                f"{layer}.final_layer_norm.bias": (d,),
            }
    return shapes


def check_shapes(found: Mapping[str, tuple[int, ...]], dimensions: ModelDimensions, source: str) -> None:
    """Check that a checkpoint has every tensor of the model, with the right shape.

    Raises:
        CheckpointError: a tensor is missing or has another shape; the message names it.
    """
    for name, shape in expected_shapes(dimensions).items():
        if name not in found:
            raise CheckpointError(
                f"{source}: tensor '{name}' is missing; download or convert the checkpoint again"
            )
        if found[name] != shape:
            raise CheckpointError(
                f"{source}: tensor '{name}' has shape {list(found[name])}, the configuration says {list(shape)}; "
                "the weights belong to another configuration"
            )


def tensors_sha256(tensors: Mapping[str, Array]) -> str:
    """One hash over all tensors (names, types, shapes, values), the same whatever file they came from."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data.cast("B"))
    return digest.hexdigest()
