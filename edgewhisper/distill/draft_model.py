"""A draft as a PyTorch module: a Whisper decoder of few layers over keys and values that the main model computes.

B batch, S tokens, H heads, T encoder positions, D width of a head, d = H D.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.draft import Draft

EPSILON = 1e-5
_DROPOUT = 0.1


class DraftModule(nn.Module):
    """A draft whose parameters have the names that its file has."""

    def arrays(self) -> Mapping[str, NDArray[np.float32]]:
        """The weights by those names."""
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.state_dict().items()}


class DraftDecoder(DraftModule):
    """Embedding and positions are the main model's and stay as they are; the head is rows of the embedding."""

    _projects = False  # whether layers have projections to keys and values
    table: torch.Tensor
    positions: torch.Tensor
    tokens: torch.Tensor

    def __init__(self, checkpoint: Checkpoint, draft: Draft) -> None:
        super().__init__()
        dims = checkpoint.dimensions
        table = tensor_of(checkpoint.tensors["decoder.embed_tokens.weight"])
        self.register_buffer("table", table, persistent=False)
        self.register_buffer(
            "positions", tensor_of(checkpoint.tensors["decoder.embed_positions.weight"]), persistent=False
        )
        self.register_buffer("tokens", torch.tensor(draft.info.tokens), persistent=False)
        self.layers = nn.ModuleList(
            _Layer(dims.d_model, dims.decoder_heads, dims.decoder_ffn, self._projects)
            for _ in range(draft.info.layers)
        )
        self.layer_norm = nn.LayerNorm(dims.d_model, eps=EPSILON)
        self.load_state_dict({name: tensor_of(draft.tensors[name]) for name in draft.tensors})

    def forward(self, ids: torch.Tensor, cross: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
        """ids [B, S], for each layer keys and values [B, H, T, D] -> logits of the shortlist [B, S, tokens]."""
        x = self.table[ids] + self.positions[: ids.shape[1]]
        for layer, (keys, values) in zip(self.layers, cross, strict=True):
            x = layer(x, keys, values)
        logits: torch.Tensor = self.layer_norm(x) @ self.table[self.tokens].T
        return logits


class StudentDecoder(DraftDecoder):
    """A student's decoder, which makes keys and values itself."""

    _projects = True

    def forward_encoded(self, ids: torch.Tensor, encoded: torch.Tensor) -> torch.Tensor:
        """ids [B, S], what the encoder gives [B, T, d] -> logits of all tokens [B, S, tokens]."""
        cross = []
        for layer in self.layers:
            assert isinstance(layer, CrossLayer)
            cross.append(layer.encoder_attn.keys_and_values(encoded))
        logits: torch.Tensor = self(ids, cross)
        return logits


class CrossLayer(nn.Module):
    """Attention to the sound and a feed-forward network, each added to what it reads."""

    def __init__(self, width: int, heads: int, hidden: int, projects: bool = False) -> None:
        super().__init__()
        self.encoder_attn_layer_norm = nn.LayerNorm(width, eps=EPSILON)
        self.encoder_attn = CrossAttention(width, heads, projects)
        self.final_layer_norm = nn.LayerNorm(width, eps=EPSILON)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """x [B, S, d], keys and values [B, H, T, D] -> [B, S, d]."""
        x = x + dropped(self.encoder_attn(self.encoder_attn_layer_norm(x), keys, values), self)
        following: torch.Tensor = x + dropped(self.fc2(F.gelu(self.fc1(self.final_layer_norm(x)))), self)
        return following


class _Layer(CrossLayer):
    def __init__(self, width: int, heads: int, hidden: int, projects: bool) -> None:
        super().__init__(width, heads, hidden, projects)
        self.self_attn_layer_norm = nn.LayerNorm(width, eps=EPSILON)
        self.self_attn = _SelfAttention(width, heads)

    def forward(self, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        x = x + dropped(self.self_attn(self.self_attn_layer_norm(x)), self)
        return super().forward(x, keys, values)


def dropped(x: torch.Tensor, module: nn.Module) -> torch.Tensor:
    """x with dropout while `module` is trained."""
    return F.dropout(x, _DROPOUT, module.training)


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            _split(projection(x), self._heads) for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
        joined: torch.Tensor = self.out_proj(_attend(q, k, v, future))
        return joined


class CrossAttention(nn.Module):
    """Attention to keys and values [B, H, T, D] that the main model computes, or that it `projects` itself."""

    def __init__(self, width: int, heads: int, projects: bool) -> None:
        super().__init__()
        self._heads = heads
        self.q_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, width)
        if projects:
            self.k_proj = nn.Linear(width, width, bias=False)
            self.v_proj = nn.Linear(width, width)

    def keys_and_values(self, encoded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the encoder gives [B, T, d] -> keys and values."""
        return _split(self.k_proj(encoded), self._heads), _split(self.v_proj(encoded), self._heads)

    def forward(self, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        joined: torch.Tensor = self.out_proj(_attend(_split(self.q_proj(x), self._heads), keys, values))
        return joined


def _split(x: torch.Tensor, heads: int) -> torch.Tensor:
    return x.view(*x.shape[:-1], heads, -1).transpose(1, 2)


def _attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, hidden: torch.Tensor | None = None
) -> torch.Tensor:
    """Written out, as PyTorch's fused attention is slower backwards on a processor."""
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if hidden is not None:
        scores = scores.masked_fill(hidden, -torch.inf)
    joined: torch.Tensor = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
    return joined


def tensor_of(array: NDArray[np.generic]) -> torch.Tensor:
    """A tensor of its own, in fp32."""
    return torch.from_numpy(np.array(array, np.float32))
