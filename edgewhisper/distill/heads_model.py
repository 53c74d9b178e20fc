"""Heads as a PyTorch module: a recurrent draft that goes on from the main decoder's hidden state, see `models.draft`.

B batch, S positions, H heads, T encoder positions, D width of a head, d = H D.
"""

import torch
from torch import nn

from edgewhisper.models.checkpoint import Checkpoint
from edgewhisper.models.draft import Draft

from .draft_model import EPSILON, CrossLayer, DraftModule, dropped, tensor_of


class HeadsDecoder(DraftModule):
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
        layer = CrossLayer(width, checkpoint.dimensions.decoder_heads, checkpoint.dimensions.decoder_ffn // 2)
        self.layers = nn.ModuleList([layer])
        self.layer_norm = nn.LayerNorm(width, eps=EPSILON)
        self.load_state_dict({name: tensor_of(draft.tensors[name]) for name in draft.tensors})

    def forward(
        self, state: torch.Tensor, ids: torch.Tensor, cross: list[tuple[torch.Tensor, torch.Tensor]]
    ) -> torch.Tensor:
        """One step: states [B, S, d], the tokens chosen by them [B, S], keys and values -> next states [B, S, d]."""
        read = torch.cat([self.token_norm(self.table[ids]), state], -1)
        x = state + dropped(self.mix(read), self)
        for layer, (keys, values) in zip(self.layers, cross, strict=True):
            x = layer(x, keys, values)
        following: torch.Tensor = self.layer_norm(x)
        return following

    def logits(self, state: torch.Tensor) -> torch.Tensor:
        """Next states [.., d] -> logits of the shortlist [.., tokens]."""
        return state @ self.table[self.tokens].T
