"""Small Whisper models with random weights, their graphs, and the same weights in transformers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgewhisper.artifact import AudioSettings, BuildInfo, Manifest, ModelDimensions, ModelInfo, TokenIds
from edgewhisper.export.graphs import export_graphs
from edgewhisper.models.checkpoint import Checkpoint, Vocabulary, expected_shapes

SMALL = ModelDimensions(
    n_mels=80, d_model=96, encoder_layers=2, encoder_heads=2, encoder_ffn=384, decoder_layers=3, decoder_heads=2,
    decoder_ffn=384, vocab_size=331, max_source_positions=100, max_target_positions=64,
)  # fmt: skip


def random_tensors(dimensions: ModelDimensions, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Every tensor of a model; attention is sharp enough to matter, layer norms are near the identity."""
    random = np.random.default_rng(seed)
    tensors = {}
    for name, shape in expected_shapes(dimensions).items():
        scale = 2.0 / np.sqrt(shape[-1]) if len(shape) > 1 else 0.1
        tensors[name] = (random.standard_normal(shape) * scale + name.endswith("norm.weight")).astype(
            np.float32
        )
    return tensors


def random_checkpoint(dimensions: ModelDimensions = SMALL, seed: int = 0) -> Checkpoint:
    """A checkpoint in memory; its last ids are the special tokens."""
    first = dimensions.vocab_size - 20
    return Checkpoint(
        model=ModelInfo(name="small", source="random", checkpoint_sha256="0" * 64, random_weights=True),
        dimensions=dimensions,
        token_ids=TokenIds(
            end_of_text=first, start_of_transcript=first + 1, languages={"en": first + 2, "de": first + 3},
            translate=first + 4, transcribe=first + 5, start_of_previous=first + 6, no_speech=first + 7,
            no_timestamps=first + 8, timestamp_begin=first + 9,
        ),
        vocabulary=Vocabulary(tokens=(b"x",) * dimensions.vocab_size, tokenizer_json=b"{}"),
        tensors=random_tensors(dimensions, seed),
    )  # fmt: skip


def export(checkpoint: Checkpoint, folder: Path, ops: Literal["fused", "portable"] = "fused") -> Manifest:
    """Write the checkpoint's graphs into `folder`; returns what the runtime needs to run them."""
    folder.mkdir(parents=True, exist_ok=True)
    graphs = export_graphs(checkpoint, folder, ops)
    dims = checkpoint.dimensions
    audio = AudioSettings(n_mels=dims.n_mels, n_frames=2 * dims.max_source_positions)
    build = BuildInfo(versions={}, options={}, target="any")
    return Manifest(checkpoint.model, dims, checkpoint.token_ids, audio, graphs, (), build)


def transformers_model(dimensions: ModelDimensions, tensors: Mapping[str, NDArray[Any]]) -> Any:
    """The same weights as transformers' WhisperForConditionalGeneration, in float64."""
    import torch
    import transformers

    config = transformers.WhisperConfig(
        num_mel_bins=dimensions.n_mels, d_model=dimensions.d_model, encoder_layers=dimensions.encoder_layers,
        encoder_attention_heads=dimensions.encoder_heads, encoder_ffn_dim=dimensions.encoder_ffn,
        decoder_layers=dimensions.decoder_layers, decoder_attention_heads=dimensions.decoder_heads,
        decoder_ffn_dim=dimensions.decoder_ffn, vocab_size=dimensions.vocab_size,
        max_source_positions=dimensions.max_source_positions, max_target_positions=dimensions.max_target_positions,
        pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=0,
    )  # fmt: skip
    model = transformers.WhisperForConditionalGeneration(config).eval().double()
    state = {f"model.{name}": torch.from_numpy(array).double() for name, array in tensors.items()}
    state["proj_out.weight"] = state["model.decoder.embed_tokens.weight"]
    model.load_state_dict(state)
    return model
