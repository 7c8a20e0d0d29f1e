"""Networks of few channels, whose plans are worked out by hand."""

import torch
from torch import Tensor, nn


class Placed(nn.Module):
    """Two layers that must stay whole: one meets a parameter of two dimensions, one a number of channels in
    the code.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 6)
        self.places = nn.Parameter(torch.zeros(24, 6))
        self.hidden = nn.Linear(6, 4)
        self.last = nn.Linear(4, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.embed(pixels.flatten(1, 2)) + self.places
        return self.head(self.last(self.hidden(tokens)).reshape(-1, 24, 8).mean(1))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """The parts of timm's."""

    def __init__(self, dim: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.attn_dim = heads, head_dim, heads * head_dim
        self.qkv = nn.Linear(dim, 3 * self.attn_dim)
        self.q_norm = nn.LayerNorm(head_dim)
        self.proj = nn.Linear(self.attn_dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q, k, v = (
            self.qkv(x)
            .reshape(batch, tokens, 3, self.num_heads, self.head_dim)
            .permute(2, 0, 3, 1, 4)
            .unbind(0)
        )
        seen = nn.functional.scaled_dot_product_attention(self.q_norm(q), k, v)
        return self.proj(seen.transpose(1, 2).reshape(batch, tokens, self.attn_dim))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 6)
        self.attention = Attention(6, heads=4, head_dim=5)
        self.head = nn.Linear(6, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        tokens = self.embed(pixels.flatten(1, 2))
        return self.head((tokens + self.attention(tokens)).mean(1))  # type: ignore[no-any-return]
