"""Heads as a PyTorch module: a recurrent draft that goes on from the main decoder's hidden state, see `models.draft`.

B batch, S positions, H heads, T encoder positions, D width of a head, d = H D.
"""

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.draft import Draft

from .draft_model import DROPOUT, EPSILON, CrossAttention, tensor_of


class HeadsDecoder(nn.Module):
    """The embedding is the main model's and stays as it is; the head is rows of it."""

    table: torch.Tensor
    tokens: torch.Tensor

    def __init__(self, checkpoint: Checkpoint, draft: Draft) -> None:
        super().__init__()
        width = checkpoint.dimensions.d_model
        table = tensor_of(checkpoint.tensors["decoder.embed_tokens.weight"])
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("tokens", torch.tensor(draft.info.tokens), persistent=False)
        self.token_norm = nn.LayerNorm(width, eps=EPSILON)
        self.mix = nn.Linear(2 * width, width)
        layer = _Layer(width, checkpoint.dimensions.decoder_heads, checkpoint.dimensions.decoder_ffn // 2)
        self.layers = nn.ModuleList([layer])
        self.layer_norm = nn.LayerNorm(width, eps=EPSILON)
        self.load_state_dict({name: tensor_of(draft.tensors[name]) for name in draft.tensors})

    def forward(
        self, state: torch.Tensor, ids: torch.Tensor, cross: list[tuple[torch.Tensor, torch.Tensor]]
    ) -> torch.Tensor:
        """One step: states [B, S, d], the tokens chosen by them [B, S], keys and values -> next states [B, S, d]."""
        read = torch.cat([self.token_norm(self.table[ids]), state], -1)
        x = state + F.dropout(self.mix(read), DROPOUT, self.training)
        for layer, (keys, values) in zip(self.layers, cross, strict=True):
            x = layer(x, keys, values)
        following: torch.Tensor = self.layer_norm(x)
        return following

    def logits(self, state: torch.Tensor) -> torch.Tensor:
        """Next states [.., d] -> logits of the shortlist [.., tokens]."""
        return state @ self.table[self.tokens].T

    def arrays(self) -> Mapping[str, NDArray[np.float32]]:
        """The weights by the names that a draft's file has."""
        return {name: tensor.detach().numpy() for name, tensor in self.state_dict().items()}


class _Layer(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.encoder_attn_layer_norm = nn.LayerNorm(width, eps=EPSILON)
        self.encoder_attn = CrossAttention(width, heads)
        self.final_layer_norm = nn.LayerNorm(width, eps=EPSILON)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        attended = self.encoder_attn(self.encoder_attn_layer_norm(x), keys, values)
        x = x + F.dropout(attended, DROPOUT, self.training)
        fed = self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        following: torch.Tensor = x + F.dropout(fed, DROPOUT, self.training)
        return following
