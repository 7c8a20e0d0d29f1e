"""Muon against what it promises."""

import pytest
import torch
from torch import nn

from pipeline.train.methods.muon import Muon, orthogonalised
from pipeline.train.optim import make_optimizer
from tests.support.fit_samples import optimizer_params


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
    ours = make_optimizer(net, optimizer_params(name="muon"))
    reference = make_optimizer(plain, optimizer_params())
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
    optimizer = make_optimizer(net, optimizer_params(name="muon"))
    for _ in range(2):
        net(torch.randn(1, 3, 3, 3)).sum().backward()
        optimizer.step()
        monkeypatch.delattr(torch, "zeros_like", raising=False)
