"""Whitening and Muon against what they promise, and learning rates by name."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from pipeline.errors import TrainingError
from pipeline.models.nets.whitening import KERNEL, Whitening
from pipeline.train.methods.muon import Muon, orthogonalised
from pipeline.train.optim import make_optimizer, set_lr
from pipeline.train.params import OptimizerParams


def params(**changes: object) -> OptimizerParams:
    values = {"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.5, "lr_factors": {}}
    return OptimizerParams.model_validate(values | changes)


def test_whitened_patches_are_uncorrelated_with_unit_variance() -> None:
    torch.manual_seed(0)
    images = F.avg_pool2d(torch.randn(200, 3, 12, 12), 3, stride=1)  # neighbours are correlated
    layer = Whitening(3)
    layer.fit(images)
    with torch.no_grad():
        answers_CP = layer(images).transpose(0, 1).flatten(1).double()
    half = 3 * KERNEL**2
    covariance = answers_CP[:half] @ answers_CP[:half].T / answers_CP.shape[1]
    values = torch.linalg.eigvalsh(
        F.unfold(images, KERNEL).transpose(0, 1).flatten(1).double().cov(correction=0)
    )
    assert values.min() > 0.005, "no direction without variance, which would stay one"
    assert (covariance - torch.eye(half)).abs().max() < 0.1  # 0.0005 over the smallest eigenvalue
    assert layer.weight[half:].equal(-layer.weight[:half])
    assert not layer.weight.requires_grad


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (16, 16)])
def test_orthogonalised_keeps_directions_and_evens_out_lengths(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    matrix = torch.randn(shape)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ orthogonalised(matrix) @ right.T
    lengths = inner.diagonal()
    assert 0.6 < lengths.median() < lengths.max() < 1.4  # three rounds leave the smallest ones short
    assert (inner - lengths.diag()).abs().max() < 0.1


def test_muon_turns_filters_by_lr_and_leaves_the_rest_to_sgd() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 2))
    plain = nn.Linear(8, 2)
    head = net[3]
    assert isinstance(head, nn.Linear)
    plain.load_state_dict(head.state_dict())
    ours = make_optimizer(net, params(name="muon"))
    reference = make_optimizer(plain, params())
    assert isinstance(ours, Muon)
    filters = next(net.parameters())
    for _ in range(3):
        before = filters.detach().clone() * (8**0.5 / filters.detach().norm())
        net(torch.randn(16, 3, 3, 3)).square().sum().backward()
        for mine, theirs in zip(head.parameters(), plain.parameters(), strict=True):
            theirs.grad = mine.grad.clone() if mine.grad is not None else None
        ours.step()
        reference.step()
        ours.zero_grad()
        lengths = torch.linalg.svdvals((filters.detach() - before).flatten(1))
        assert 0.06 < lengths.median() < lengths.max() < 0.14, "about lr in most directions"
    for mine, theirs in zip(head.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_muon_makes_its_momentum_once(monkeypatch: pytest.MonkeyPatch) -> None:
    net = nn.Conv2d(3, 8, 3)
    optimizer = make_optimizer(net, params(name="muon"))
    for _ in range(2):
        net(torch.randn(1, 3, 3, 3)).sum().backward()
        optimizer.step()
        monkeypatch.delattr(torch, "zeros_like", raising=False)


def test_rates_follow_the_first_pattern_that_fits() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    optimizer = make_optimizer(net, params(lr_factors={"1.*": 10.0, "*.bias": 2.0}))
    set_lr(optimizer, 0.5)
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
        make_optimizer(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), params(lr_factors={"1.weigth": 2.0}))
