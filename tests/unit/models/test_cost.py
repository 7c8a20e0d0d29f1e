"""MACs of hand-made networks against numbers worked out by hand."""

from pathlib import Path

import torch
from torch import nn

from pipeline.models.cost import Cost, count_macs, count_params, measure_cost, module_macs

CONV = 8 * 8 * 4 * 3 * 3 * 3
"""8x8 outputs, 4 channels, 3x3 kernels over 3 channels."""
DEPTHWISE = 8 * 8 * 4 * 3 * 3
HEAD = 4 * 10


def hand_made() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 10),
    )


def test_macs_are_those_worked_out_by_hand() -> None:
    assert count_macs(hand_made(), torch.zeros(1, 3, 8, 8)) == CONV + DEPTHWISE + HEAD


def test_macs_by_module_name_only_the_layers_that_do_any() -> None:
    assert module_macs(hand_made(), torch.zeros(1, 3, 8, 8)) == {"0": CONV, "2": DEPTHWISE, "5": HEAD}


def test_nested_modules_are_counted_once() -> None:
    nested = nn.Sequential(nn.Sequential(hand_made()))
    assert (
        sum(module_macs(nested, torch.zeros(1, 3, 8, 8)).values())
        == count_macs(nested, torch.zeros(1, 3, 8, 8))
        == CONV + DEPTHWISE + HEAD
    )


def test_work_outside_of_layers_is_that_of_the_module_around_it() -> None:
    class Squared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x) @ x.transpose(-1, -2)  # type: ignore[no-any-return]

    assert module_macs(Squared(), torch.zeros(1, 1, 8, 8)) == {"": 8 * 8 * 8, "layer": 8 * 8 * 8}
    assert count_macs(Squared(), torch.zeros(1, 1, 8, 8)) == 2 * 8 * 8 * 8


def test_counting_leaves_the_model_as_it_was() -> None:
    model = hand_made().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count_macs(model, torch.zeros(1, 3, 8, 8))
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_cost_takes_the_bytes_of_the_named_file(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"12345")
    model = hand_made()
    parameters = 4 * 3 * 9 + 2 * 4 + 4 * 9 + 4 * 10 + 10
    assert count_params(model) == parameters
    assert measure_cost(model, torch.zeros(1, 3, 8, 8), file) == Cost(CONV + DEPTHWISE + HEAD, parameters, 5)


def test_the_products_of_attention_are_counted() -> None:
    class Attention(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.scaled_dot_product_attention(x, x, x)

    model = nn.Sequential(nn.Conv2d(3, 3, 1), Attention())
    # 3 heads of 8 tokens, each of 8 numbers: every token times every other, twice.
    assert module_macs(model, torch.zeros(1, 3, 8, 8)) == {"0": 3 * 3 * 8 * 8, "1": 2 * 3 * 8 * 8 * 8}
