"""Outputs by name."""

import torch
from torch import nn

from pipeline.models.description.spec import TensorSpec
from pipeline.models.nets.outputs import answer, named

KINDS = TensorSpec(shape=[3], meaning="logits")
COUNT = TensorSpec(shape=[1], meaning="a number")
MAPS = TensorSpec(shape=[2, 2], meaning="a map")


def test_a_single_output_is_the_last_layer_itself() -> None:
    numbers = torch.randn(4, 3)
    assert named(numbers, {"logits": KINDS})["logits"] is numbers


def test_several_outputs_follow_each_other_in_the_last_layer() -> None:
    inputs = {"pixels": torch.arange(16.0).view(2, 8)}
    found = answer(nn.Identity(), inputs, {"kind": KINDS, "count": COUNT, "map": MAPS})
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        "kind": [[0, 1, 2], [8, 9, 10]],
        "count": [[3], [11]],
        "map": [[[4, 5], [6, 7]], [[12, 13], [14, 15]]],
    }
