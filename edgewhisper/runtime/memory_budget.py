"""How much memory a transcription takes, before anything is loaded.

The peak comes while the decoder's weights are repacked, or while the encoder runs. The constants were fitted to measurements
of whole processes (`edgewhisper transcribe`, one window of 30 s, two threads); see docs/memory.md.
"""

import math

from edgewhisper.artifact import DRAFT, DRAFT_ENCODER, HEADS, GraphInfo, Manifest, ModelDimensions
from edgewhisper.errors import UsageError

# Bytes of a weight in memory. A processor computes fp16 in fp32; blocks of 32 carry a scale, and their sum once packed.
# Unknown precisions count as fp32.
_WEIGHT_BYTES = {
    "fp32": 4.0, "fp16": 4.0, "int8": 1.0, "int8-dynamic": 1.0, "int8-weight": 1.125, "int4": 0.9,
}  # fmt: skip
_VALUE_BYTES = {"int8": 1, "float16": 2}
# Decoders that read the encoder's keys and values in INT8.
_INT8_CROSS_KV = {"int8", "int4"}
# Python, NumPy, ONNX Runtime and the vocabulary, with what their sessions need beside the weights.
_FLOOR = 70e6
# While weights are repacked, their mapped source is resident too, as far as it is not dropped yet.
_LOADING_FLOOR = 87e6
_LOADING_WEIGHTS = 1.46
# The encoder's activations, in tensors of [positions, width]: with and without ONNX Runtime's arena.
_ACTIVATIONS, _ACTIVATIONS_LOW = 10.5, 6.5


def transcription_memory(
    dimensions: ModelDimensions, encoder_precision: str, decoder_precision: str, low_memory: bool
) -> int:
    """The peak of resident memory while one recording is transcribed on a processor, in bytes; within about a tenth."""
    running, decoder = _model_memory(dimensions, encoder_precision, decoder_precision, low_memory)
    return round(max(_FLOOR + running, _LOADING_FLOOR + _LOADING_WEIGHTS * decoder))


def _model_memory(
    dims: ModelDimensions, encoder_precision: str, decoder_precision: str, low_memory: bool
) -> tuple[float, float]:
    """Bytes that a model takes while it runs, and those of its decoder's weights."""
    width, positions = dims.d_model, dims.max_source_positions
    attention, cross = 4 * width**2, 2 * width**2
    encoder = dims.encoder_layers * (attention + 2 * width * dims.encoder_ffn)
    encoder += 3 * width * (dims.n_mels + width) + dims.decoder_layers * cross
    decoder = dims.decoder_layers * (2 * attention - cross + 2 * width * dims.decoder_ffn)
    decoder += dims.vocab_size * width
    encoder_bytes = encoder * _WEIGHT_BYTES.get(encoder_precision, 4.0)
    decoder_bytes = decoder * _WEIGHT_BYTES.get(decoder_precision, 4.0)
    cached = dims.decoder_layers * 2 * width
    caches = cached * (
        positions * (1 if decoder_precision in _INT8_CROSS_KV else 4) + dims.max_target_positions * 4
    )
    activations = positions * width * 4 * (_ACTIVATIONS_LOW if low_memory else _ACTIVATIONS)
    return encoder_bytes + decoder_bytes + caches + activations, decoder_bytes


def draft_memory(manifest: Manifest) -> int:
    """What the artifact's draft takes, in bytes; 0 without one. Phrases are mapped and cost next to nothing."""
    graph = manifest.graphs.get(DRAFT)
    if graph is None:
        return 0
    if DRAFT_ENCODER in manifest.graphs:
        return _assistant_memory(manifest)
    tokens = len(graph.head_tokens or ())
    return distilled_memory(graph.kind, draft_layers(graph), tokens, manifest.dimensions, graph.precision)


def draft_layers(graph: GraphInfo) -> int:
    """How many layers a draft's graph has, heads aside: each reads keys and values of the encoder's."""
    return sum("_key_cross_" in info.name for info in graph.inputs)


def distilled_memory(kind: str, layers: int, tokens: int, dimensions: ModelDimensions, precision: str) -> int:
    """What a draft without an encoder takes in a precision, in bytes.

    Args:
        kind: its graph's.
        layers: of a graph that is not heads.
        tokens: that it scores.
        dimensions: the main model's.
        precision: of the draft.
    """
    dims, width, cache = dimensions, dimensions.d_model, 0
    feed_forward = 2 * width * dims.decoder_ffn
    if kind == HEADS:
        weights = 4 * width**2 + feed_forward // 2
    else:
        weights = layers * (6 * width**2 + feed_forward)
        cache = layers * 2 * width * dims.max_target_positions * 4
    weights += tokens * width
    return round(weights * _WEIGHT_BYTES.get(precision, 4.0)) + cache


def model_memory(dimensions: ModelDimensions, encoder_precision: str, decoder_precision: str) -> int:
    """What a whole model takes beside another one, in bytes: weights, caches and activations."""
    return round(_model_memory(dimensions, encoder_precision, decoder_precision, low_memory=False)[0])


def _assistant_memory(manifest: Manifest) -> int:
    """Of a draft with an encoder of its own, by the size of its weights, its caches and what its encoder computes."""
    encoder, decoder = manifest.graphs[DRAFT_ENCODER], manifest.graphs[DRAFT]
    names = {*encoder.weights, *decoder.weights}
    weights = sum(info.size for info in manifest.files if info.name in names)
    positions = manifest.dimensions.max_source_positions
    cached = [
        info
        for info in (*encoder.outputs, *decoder.inputs)
        if "_cross_" in info.name or "_self_" in info.name
    ]
    caches = sum(
        _VALUE_BYTES.get(info.dtype, 4)
        * math.prod(x if isinstance(x, int) else positions for x in info.shape[1:])
        for info in cached
        if not info.name.startswith("past_key_cross") and not info.name.startswith("past_value_cross")
    )
    width = next((x for info in decoder.inputs if info.name == "inputs_embeds" for x in info.shape[-1:]), 0)
    activations = positions * (width if isinstance(width, int) else 0) * 4 * _ACTIVATIONS
    factor = _WEIGHT_BYTES["fp16"] / 2 if decoder.precision == "fp16" else 1
    return round(weights * factor + caches + activations)


def needs_low_memory(manifest: Manifest, max_ram: int) -> bool:
    """Whether an artifact fits `max_ram` bytes with the settings of low memory only.

    Raises:
        UsageError: it does not fit at all.
    """
    encoder, decoder = (manifest.graph(name).precision for name in ("encoder", "decoder"))
    usual, least = (
        transcription_memory(manifest.dimensions, encoder, decoder, low) + draft_memory(manifest)
        for low in (False, True)
    )
    if least > max_ram:
        raise UsageError(
            f"--max-ram {max_ram / 1e6:.0f} MB: this artifact needs about {least / 1e6:.0f} MB; "
            "build it with a smaller --precision, or take a smaller model"
        )
    return usual > max_ram
