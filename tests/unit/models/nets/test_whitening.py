"""Whitening against what it promises."""

import torch
import torch.nn.functional as F

from pipeline.models.nets.whitening import KERNEL, Whitening


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
