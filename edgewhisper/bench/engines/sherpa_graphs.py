"""The files that sherpa-onnx runs a Whisper from; its package reads them and cannot write them.

Two ONNX graphs, exported from openai-whisper's modules as its published models are, the special tokens in the encoder's
metadata, and the vocabulary. B batch, S tokens, L decoder layers, N decoder positions, T encoder positions, d width.
"""

import base64
import shutil
from pathlib import Path
from typing import Any

import onnx
import torch
import torch.nn.functional as F
import whisper
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from edgewhisper.models.checkpoint import Checkpoint

_OPSET = 17
ENCODER, DECODER, TOKENS = "encoder.onnx", "decoder.onnx", "tokens.txt"


def write_graphs(weights: Path, checkpoint: Checkpoint, folder: Path) -> None:
    """Write ENCODER, DECODER and TOKENS.

    Args:
        weights: the checkpoint as OpenAI's .pt file.
        checkpoint: the same, for its tokens.
    """
    # The exporter follows plain attention, not PyTorch's fused one.
    with torch.no_grad(), whisper.model.disable_sdpa():
        _export(whisper.load_model(str(weights), device="cpu").eval(), folder)
    graph = onnx.load(folder / ENCODER)
    onnx.helper.set_model_props(graph, {name: str(value) for name, value in _metadata(checkpoint).items()})
    onnx.save(graph, folder / ENCODER)
    (folder / TOKENS).write_text(_tokens(checkpoint), encoding="ascii")


def quantize_graphs(source: Path, folder: Path) -> None:
    """Write the same with the weights of linear layers in INT8, dynamically quantized as in sherpa-onnx's published models."""
    for name in (ENCODER, DECODER):
        quantize_dynamic(
            source / name, folder / name, op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8
        )
    shutil.copyfile(source / TOKENS, folder / TOKENS)


class _Encoder(nn.Module):
    """Log-mel frames [B, n_mels, 2 T] -> keys and values of cross-attention, each [L, B, T, d]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.encoder = model.encoder
        self.attentions: Any = nn.ModuleList(block.cross_attn for block in model.decoder.blocks)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """The window may be shorter than the model's, as sherpa-onnx encodes short recordings."""
        x = F.gelu(self.encoder.conv2(F.gelu(self.encoder.conv1(mel)))).permute(0, 2, 1)
        x = x + self.encoder.positional_embedding[: x.shape[1]]
        for block in self.encoder.blocks:
            x = block(x)
        x = self.encoder.ln_post(x)
        keys = torch.stack([attention.key(x) for attention in self.attentions])
        return keys, torch.stack([attention.value(x) for attention in self.attentions])


class _Decoder(nn.Module):
    """A step: tokens [B, S] at positions from `offset` [1] on -> logits [B, S, vocabulary] and the caches.

    Both caches of self-attention are [L, B, N, d] and are handed back with the rows of the new tokens filled.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.decoder = model.decoder

    def forward(
        self, tokens: Tensor, self_k: Tensor, self_v: Tensor, cross_k: Tensor, cross_v: Tensor, offset: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The arguments in the order in which sherpa-onnx gives them."""
        start, end = offset[0], offset[0] + tokens.shape[-1]
        x = self.decoder.token_embedding(tokens) + self.decoder.positional_embedding[start:end]
        for layer, block in enumerate(self.decoder.blocks):
            normed = block.attn_ln(x)
            self_k[layer, :, start:end] = block.attn.key(normed)
            self_v[layer, :, start:end] = block.attn.value(normed)
            past = self_k[layer, :, :end], self_v[layer, :, :end]
            x = x + _attend(block.attn, normed, *past, self.decoder.mask)
            x = x + _attend(block.cross_attn, block.cross_attn_ln(x), cross_k[layer], cross_v[layer], None)
            x = x + block.mlp(block.mlp_ln(x))
        # In this order the graph holds the embedding once, not transposed for the head a second time.
        logits = torch.matmul(self.decoder.token_embedding.weight, self.decoder.ln(x).permute(0, 2, 1))
        return logits.permute(0, 2, 1), self_k, self_v


def _attend(attention: Any, x: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    mixed, _ = attention.qkv_attention(attention.query(x), keys, values, mask)
    projected: Tensor = attention.out(mixed)
    return projected


def _export(model: Any, folder: Path) -> None:
    dims = model.dims
    mel = torch.zeros(1, dims.n_mels, 2 * dims.n_audio_ctx)
    window = {1: "n_audio", 2: "T"}
    torch.onnx.export(
        _Encoder(model),
        (mel,),
        str(folder / ENCODER),
        opset_version=_OPSET,
        input_names=["mel"],
        output_names=["n_layer_cross_k", "n_layer_cross_v"],
        dynamic_axes={
            "mel": {0: "n_audio", 2: "T"},
            "n_layer_cross_k": window,
            "n_layer_cross_v": window,
        },
        dynamo=False,
    )
    cache = torch.zeros(dims.n_text_layer, 1, dims.n_text_ctx, dims.n_text_state)
    cross = torch.zeros(dims.n_text_layer, 1, dims.n_audio_ctx, dims.n_text_state)
    torch.onnx.export(
        _Decoder(model),
        (torch.zeros(1, 1, dtype=torch.int64), cache, cache.clone(), cross, cross.clone(), torch.tensor([3])),
        str(folder / DECODER),
        opset_version=_OPSET,
        input_names=[
            "tokens", "in_n_layer_self_k_cache", "in_n_layer_self_v_cache", "n_layer_cross_k", "n_layer_cross_v", "offset",
        ],
        output_names=["logits", "out_n_layer_self_k_cache", "out_n_layer_self_v_cache"],
        dynamic_axes={
            "tokens": {0: "n_audio", 1: "n_tokens"},
            "in_n_layer_self_k_cache": {1: "n_audio"},
            "in_n_layer_self_v_cache": {1: "n_audio"},
            "n_layer_cross_k": window,
            "n_layer_cross_v": window,
        },
        dynamo=False,
    )  # fmt: skip


def _metadata(checkpoint: Checkpoint) -> dict[str, str | int]:
    """What sherpa-onnx reads of the model's shape and special tokens; 0 where the vocabulary has no such token."""
    dims, ids = checkpoint.dimensions, checkpoint.token_ids
    start = [ids.start_of_transcript]
    if ids.is_multilingual:
        start += [next(iter(ids.languages.values())), ids.transcribe or 0]
    return {
        "model_type": "whisper",
        "n_mels": dims.n_mels,
        "n_audio_ctx": dims.max_source_positions,
        "n_text_layer": dims.decoder_layers,
        "n_text_ctx": dims.max_target_positions,
        "n_text_state": dims.d_model,
        "n_vocab": dims.vocab_size,
        "sot": ids.start_of_transcript,
        "eot": ids.end_of_text,
        "blank_id": checkpoint.vocabulary.tokens.index(b" "),
        "translate": ids.translate or 0,
        "transcribe": ids.transcribe or 0,
        "no_speech": ids.no_speech or 0,
        "no_timestamps": ids.no_timestamps,
        "sot_sequence": ",".join(map(str, start)),
        "is_multilingual": int(ids.is_multilingual),
        "all_language_tokens": ",".join(map(str, ids.languages.values())),
        "all_language_codes": ",".join(ids.languages),
    }


def _tokens(checkpoint: Checkpoint) -> str:
    """A line for each id: what it writes, in base64, and the id.

    Every id writes its number, so that a text tells which tokens it has: their bytes are not always UTF-8, which the package
    wants of each, and random weights write special tokens too, which its published files leave out.
    """
    ids = range(checkpoint.dimensions.vocab_size)
    return "".join(f"{base64.b64encode(f'{i} '.encode()).decode()} {i}\n" for i in ids)
