"""Attention whose heads a pruning plan can cut.

Letters: B batch, N tokens, E width of the stream, H heads, D of a head.
"""

import re
from collections.abc import Collection, Mapping

import torch.nn.functional as F
from torch import Tensor, nn

PARTS = ("qkv", "proj", "q_norm", "k_norm")
"""What may hold weights in an attention whose heads can be cut; the norms are over D and shared by the heads.
"""
PACKED_NAMES = ((r"\bin_proj_(weight|bias)$", r"qkv.\1"), (r"\bout_proj\.(weight|bias)$", r"proj.\1"))
"""torch's names of the weights of an attention, and those of the parts here."""


class SelfAttention(nn.Module):
    """What nn.MultiheadAttention is to a vision transformer, from its weights, in timm's parts.

    torch's own holds q, k and v in one parameter beside a layer that it never calls, so neither the
    dependency graph nor a count of operations sees them, and its forward pass takes H * D for E.
    """

    def __init__(self, packed: nn.MultiheadAttention) -> None:
        super().__init__()
        assert packed.in_proj_weight is not None, "q, k and v of one width"
        assert packed.batch_first
        self.num_heads, self.head_dim = packed.num_heads, packed.head_dim
        self.attn_dim = packed.embed_dim
        self.dropout = packed.dropout
        self.qkv = nn.Linear(packed.embed_dim, 3 * packed.embed_dim)
        self.qkv.weight, self.qkv.bias = packed.in_proj_weight, packed.in_proj_bias
        self.proj = nn.Linear(packed.embed_dim, packed.embed_dim)
        self.proj.weight, self.proj.bias = packed.out_proj.weight, packed.out_proj.bias

    def forward(
        self, query_BNE: Tensor, key_BNE: Tensor, value_BNE: Tensor, need_weights: bool = False
    ) -> tuple[Tensor, None]:
        """Called as torch's own is; the three are one tensor here; no attention weights are given."""
        assert query_BNE is key_BNE is value_BNE
        assert not need_weights
        batch, tokens, _ = query_BNE.shape
        qkv_3BHND = (
            self.qkv(query_BNE)
            .reshape(batch, tokens, 3, self.num_heads, self.head_dim)
            .permute(2, 0, 3, 1, 4)
        )
        q_BHND, k_BHND, v_BHND = qkv_3BHND.unbind(0)
        seen_BHND = F.scaled_dot_product_attention(
            q_BHND, k_BHND, v_BHND, dropout_p=self.dropout if self.training else 0.0
        )
        return self.proj(seen_BHND.transpose(1, 2).reshape(batch, tokens, self.attn_dim)), None


def unpack_attention(model: nn.Module) -> None:
    """Put SelfAttention, with the same weights, for every nn.MultiheadAttention of a model."""
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.MultiheadAttention):
            model.set_submodule(name, SelfAttention(module))


def unpacked_names(tensors: Mapping[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    """Tensors under the names that a model with SelfAttention has for them; `own` are the model's."""
    renamed = {}
    for name, tensor in tensors.items():
        other = name
        for pattern, replacement in PACKED_NAMES:
            other = re.sub(pattern, replacement, other)
        renamed[other if other in own else name] = tensor
    return renamed


def has_heads(module: nn.Module) -> bool:
    """Whether heads of a module can be cut: it has the parts of timm's Attention alone with weights."""
    qkv, proj = getattr(module, "qkv", None), getattr(module, "proj", None)
    heads, head_dim = getattr(module, "num_heads", None), getattr(module, "head_dim", None)
    if not (
        isinstance(qkv, nn.Linear)
        and isinstance(proj, nn.Linear)
        and isinstance(heads, int)
        and isinstance(head_dim, int)
    ):
        return False
    attn_dim = heads * head_dim
    whole = getattr(module, "attn_dim", None) == attn_dim == proj.in_features == qkv.out_features // 3
    return whole and all(name.partition(".")[0] in PARTS for name, _ in module.named_parameters())
