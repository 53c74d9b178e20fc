"""Small Whisper models in static INT8, calibrated on random sounds and tokens."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime
from numpy.typing import NDArray

from edgewhisper.artifact import Manifest
from edgewhisper.export.model_file import load_model, save_model
from edgewhisper.export.weights import WeightsWriter
from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.quant.calibration import observe
from edgewhisper.quant.cross_attention import decoder_values_to_observe, encoder_values_to_observe
from edgewhisper.quant.cross_kv import quantize_cross_kv
from edgewhisper.quant.static import StaticOptions, inputs_to_observe, quantize_static
from edgewhisper.quant.targets import number_formats
from edgewhisper.runtime.embedding import TokenEmbedding
from edgewhisper.runtime.processor import host_target
from tests.small_models import export

_RUNS = 3
# The table's name in the decoder graph.
TABLE = "decoder.embed_tokens.weight.int8"
FP32_TABLE = "decoder.embed_tokens.weight"
Feed = dict[str, NDArray[Any]]


def encoder_feeds(manifest: Manifest) -> Iterator[Feed]:
    """Windows of noise."""
    for seed in range(_RUNS):
        shape = (1, manifest.audio.n_mels, manifest.audio.n_frames)
        yield {"audio_features": np.random.default_rng(seed).standard_normal(shape, np.float32)}


def decoder_feeds(folder: Path, manifest: Manifest) -> Iterator[Feed]:
    """Random tokens to the last position, over what the encoder makes of noise."""
    graph, dims = manifest.graph("decoder"), manifest.dimensions
    encoder = onnxruntime.InferenceSession(folder / "encoder.onnx")
    embedding = TokenEmbedding(folder, graph)
    count = dims.max_target_positions
    for seed, feed in enumerate(encoder_feeds(manifest)):
        tokens = np.random.default_rng(seed).integers(0, dims.vocab_size, count).tolist()
        embeddings = np.zeros((1, count, dims.d_model), np.float32)
        embedding.rows(tokens, embeddings[0])
        cross = zip(manifest.graph("encoder").outputs, encoder.run(None, feed), strict=True)
        yield {
            "inputs_embeds": embeddings,
            "position_ids": np.arange(count)[None],
            "seqlens_k": np.array([count - 1], np.int32),
            "total_sequence_length": np.array(count, np.int32),
            "logits_from": np.array(0),
            **{
                info.name: np.zeros((1, *map(int, info.shape[1:])), np.float32)
                for info in graph.inputs
                if "_self_" in info.name
            },
            **{info.name.replace("present_", "past_", 1): value for info, value in cross},
        }


def export_static(
    checkpoint: Checkpoint,
    folder: Path,
    target: str | None = None,
    options: StaticOptions | None = None,
    cross: bool = True,
) -> Manifest:
    """Write fp32 graphs into `folder`/fp32 and INT8 graphs into `folder`; returns what the runtime needs to run the latter.

    Without a target, the graphs are for the processor that runs the tests: another one's products may saturate on it.
    """
    source = folder / "fp32"
    manifest = export(checkpoint, source)
    encoder, decoder = (load_model(source / f"{name}.onnx") for name in ("encoder", "decoder"))
    encoded, decoded = encoder_values_to_observe(encoder), decoder_values_to_observe(decoder)
    decoded = list(dict.fromkeys(decoded + inputs_to_observe(decoder)))
    statistics: Mapping[str, Any] = observe(source / "decoder.onnx", decoded, decoder_feeds(source, manifest))
    formats = number_formats(target or host_target())
    if cross:
        observed = observe(source / "encoder.onnx", encoded, encoder_feeds(manifest))
        statistics = quantize_cross_kv(encoder, decoder, observed, statistics, formats).statistics
    quantize_static(decoder, statistics, formats, options or StaticOptions())
    return save_graphs(manifest, {"encoder": encoder, "decoder": decoder}, folder, quantized=True)


def save_graphs(
    manifest: Manifest, models: Mapping[str, ir.Model], folder: Path, quantized: bool
) -> Manifest:
    """Write the graphs into `folder`; returns what the runtime needs to run them. A quantized decoder's table is in INT8."""
    graphs = dict(manifest.graphs)
    with WeightsWriter(folder / "weights.bin") as weights:
        for name, model in models.items():
            inputs, outputs = save_model(model, folder / f"{name}.onnx", weights)
            graphs[name] = replace(graphs[name], inputs=inputs, outputs=outputs)
        graphs["decoder"] = replace(
            graphs["decoder"],
            embedding=weights.location(TABLE if quantized else FP32_TABLE),
            embedding_scales=weights.location(f"{TABLE}.scale") if quantized else None,
        )
    return replace(manifest, graphs=graphs)
