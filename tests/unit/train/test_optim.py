"""Schedules, groups of parameters, slots of an optimizer and the moving average."""

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import nn
from torch.amp import GradScaler

from pipeline.errors import TrainingError
from pipeline.train.optim import Ema, lr_factor, make_optimizer, set_lr, waiting_factor
from pipeline.train.params import OptimizerParams, ScheduleParams
from pipeline.train.state import State
from tests.support.fit_samples import optimizer_params


def schedule(name: str, warmup: float = 0.25, final: float = 0.0) -> ScheduleParams:
    return ScheduleParams.model_validate({"name": name, "warmup": warmup, "final": final})


@pytest.mark.parametrize("name", ["cosine", "one_cycle"])
def test_schedule_rises_peaks_and_ends_at_final(name: str) -> None:
    factors = [lr_factor(step, 40, schedule(name, final=0.1)) for step in range(40)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == 1.0
    assert factors[-1] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))


def test_cosine_is_half_way_down_in_the_middle() -> None:
    assert lr_factor(20, 41, schedule("cosine", warmup=0.0)) == pytest.approx(0.5)


def test_a_single_step_has_a_rate() -> None:
    assert lr_factor(0, 1, schedule("cosine", warmup=0.0)) == 1.0


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def test_norms_and_biases_do_not_decay() -> None:
    optimizer = make_optimizer(
        net(),
        OptimizerParams(name="sgd", lr=0.1, momentum=0.9, weight_decay=0.5, lr_factors={}, layer_decay=None),
    )
    decay = {
        tuple(p.shape): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    assert decay == {(8, 12): 0.5, (3, 8): 0.5, (8,): 0.0, (3,): 0.0}


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_restored_slots_lie_in_memory_as_their_parameters_do(name: str) -> None:
    """A fused optimizer goes through memory and looks at no strides."""

    def opened() -> State:
        model = nn.Sequential(nn.Conv2d(2, 3, 3)).to(memory_format=torch.channels_last)
        params = OptimizerParams.model_validate(
            {
                "name": name,
                "lr": 0.1,
                "momentum": 0.9,
                "weight_decay": 0.0,
                "lr_factors": {},
                "layer_decay": None,
            }
        )
        return State(
            model, nn.ModuleList(), make_optimizer(model, params), GradScaler("cpu", enabled=False), None
        )

    before, after = opened(), opened()
    before.model(torch.randn(1, 2, 5, 5)).square().sum().backward()
    before.optimizer.step()
    tensors = {key: tensor.contiguous() for key, tensor in before.tensors(torch.zeros(1)).items()}
    after.restore(tensors, before.values())
    for parameter in after.model.parameters():
        slots = [slot for slot in after.optimizer.state[parameter].values() if slot.shape == parameter.shape]
        assert slots
        assert all(slot.stride() == parameter.stride() for slot in slots)


def test_ema_follows_the_weights_and_counts() -> None:
    model, averaged = net(), net()
    linear, norm = averaged[1], averaged[2]
    assert isinstance(linear, nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert norm.num_batches_tracked is not None
    ema = Ema(model, averaged, decay=0.5)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(1)
        for tensor in averaged.state_dict().values():
            tensor.fill_(0)
    ema.update(step=0)
    expected = 1 - 1 / 10  # the decay starts low: (1 + 0) / (10 + 0)
    assert linear.weight[0, 0].item() == pytest.approx(expected)
    assert norm.running_mean[0].item() == pytest.approx(expected)
    assert norm.num_batches_tracked.item() == 1


def test_rates_follow_the_first_pattern_that_fits() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    optimizer = make_optimizer(net, optimizer_params(lr_factors={"1.*": 10.0, "*.bias": 2.0}))
    set_lr(optimizer, 0.5, 0.5)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert {name: rates[id(p)] for name, p in net.named_parameters()} == {
        "0.weight": 0.5,
        "0.bias": 1.0,
        "1.weight": 5.0,
        "1.bias": 5.0,
    }


def test_a_pattern_without_a_parameter_is_refused() -> None:
    with pytest.raises(
        TrainingError, match=r"no trained parameter's name fits '1\.weigth'; did you mean '1\.weight'"
    ):
        model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
        make_optimizer(model, optimizer_params(lr_factors={"1.weigth": 2.0}))


RESNET = ["stem.conv.weight", "stem.norm.weight", "stages.0.0.conv1.weight", "stages.0.0.conv2.weight"]
RESNET += ["stages.0.1.conv1.weight", "stages.1.0.conv1.weight", "stages.1.0.down.0.weight", "head.bias"]
VIT = ["cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.norm1.weight", "blocks.1.mlp.fc1.bias"]
VIT += ["norm.weight", "head.weight", "head.bias"]
EFFICIENTNET = ["conv_stem.weight", "bn1.weight", "blocks.0.0.conv_dw.weight", "blocks.1.0.conv_pw.weight"]
EFFICIENTNET += ["blocks.1.1.conv_pw.weight", "conv_head.weight", "bn2.weight", "classifier.bias"]


class Named(nn.Module):
    """Parameters of given names, without a network around them."""

    def __init__(self, names: list[str]) -> None:
        super().__init__()
        self._names = {name: nn.Parameter(torch.zeros(2)) for name in names}

    def named_parameters(self, *_: object, **__: object) -> Iterator[tuple[str, nn.Parameter]]:
        return iter(self._names.items())


@pytest.mark.parametrize(
    ("names", "below"),
    [
        (RESNET, [4, 4, 3, 3, 2, 1, 1, 0]),
        (VIT, [3, 3, 3, 2, 1, 0, 0, 0]),
        (EFFICIENTNET, [4, 4, 3, 2, 1, 0, 0, 0]),
    ],
)
def test_each_layer_learns_slower_than_the_one_after_it(names: list[str], below: list[int]) -> None:
    model = Named(names)
    optimizer = make_optimizer(model, optimizer_params(layer_decay=0.5, lr_factors={"*.bias": 10.0}))
    set_lr(optimizer, 1.0, 1.0)
    lr = {id(each): group["lr"] for group in optimizer.param_groups for each in group["params"]}
    expected = [
        0.5**layers * (10.0 if name.endswith(".bias") else 1.0)
        for name, layers in zip(names, below, strict=True)
    ]
    assert [lr[id(parameter)] for _, parameter in model.named_parameters()] == pytest.approx(expected)


def test_all_but_the_head_waits_and_then_begins_the_schedule() -> None:
    model, cosine = net(), schedule("cosine", warmup=0.25)
    optimizer = make_optimizer(model, optimizer_params(), head="4")
    waiting = [waiting_factor(step, 28, 8, cosine) for step in range(28)]
    assert waiting == [0.0] * 8 + [lr_factor(step, 20, cosine) for step in range(20)]
    assert [waiting_factor(step, 28, 0, cosine) for step in range(28)] == [
        lr_factor(step, 28, cosine) for step in range(28)
    ]
    set_lr(optimizer, 0.5, 0.0)
    lr = {id(each): group["lr"] for group in optimizer.param_groups for each in group["params"]}
    assert [lr[id(parameter)] for parameter in model.parameters()] == [0.0] * 4 + [0.5] * 2
