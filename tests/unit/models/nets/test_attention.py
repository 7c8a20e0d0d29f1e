"""Attention in parts is torch's own, under other names."""

import torch
from torch import nn

from pipeline.models.nets.attention import SelfAttention, has_heads, unpack_attention, unpacked_names
from pipeline.train.initial import fill


def test_attention_in_parts_gives_what_torchs_own_gives() -> None:
    torch.manual_seed(0)
    packed, tokens = nn.MultiheadAttention(12, 3, batch_first=True), torch.randn(2, 5, 12)
    parts = SelfAttention(packed)
    expected = packed(tokens, tokens, tokens, need_weights=False)[0]
    assert torch.allclose(parts(tokens, tokens, tokens, need_weights=False)[0], expected, atol=1e-6)
    assert has_heads(parts)


def test_a_file_with_torchs_names_fills_attention_in_parts() -> None:
    torch.manual_seed(0)
    packed = nn.Sequential(nn.MultiheadAttention(12, 3, batch_first=True), nn.Linear(12, 2))
    unpacked = nn.Sequential(nn.MultiheadAttention(12, 3, batch_first=True), nn.Linear(12, 2))
    unpack_attention(unpacked)
    fill(unpacked, packed.state_dict(), "a file")
    own = packed.get_submodule("0").state_dict()
    assert torch.equal(unpacked.get_parameter("0.qkv.weight"), own["in_proj_weight"])
    assert torch.equal(unpacked.get_parameter("0.proj.bias"), own["out_proj.bias"])


def test_names_that_the_model_has_itself_stay() -> None:
    tensors = {"0.in_proj_weight": torch.zeros(1), "head.weight": torch.zeros(1)}
    assert unpacked_names(tensors, tensors.keys()).keys() == tensors.keys()
