"""Mixing with a partner against its formula, and the distribution of the shares."""

import pytest
import torch
from pydantic import ValidationError

from pipeline.data.augmentation.mix import Mix, draw_mix, mixed
from pipeline.data.augmentation.params import AugmentParams


def params(mixup: float = 0.0, cutmix: float = 0.0) -> AugmentParams:
    return AugmentParams(
        resized_crop=None,
        color_jitter=None,
        trivial=False,
        flip="none",
        crop_padding=0,
        crop_fill="black",
        cutout=0,
        erase=0.0,
        mixup=mixup,
        cutmix=cutmix,
    )


def drawn(mixup: float = 0.0, cutmix: float = 0.0, seed: int = 3, rows: int = 20_000) -> Mix:
    mix = draw_mix(torch.arange(rows), 500, params(mixup, cutmix), seed, 0)
    assert mix is not None
    return mix


def test_off_is_none() -> None:
    assert draw_mix(torch.arange(3), 10, params(), 0, 0) is None


@pytest.mark.parametrize("alpha", [0.2, 1.0, 2.0])
def test_shares_follow_the_beta_distribution(alpha: float) -> None:
    share = drawn(mixup=alpha).share_B
    assert 0 <= share.min() < share.max() <= 1
    assert share.mean().item() == pytest.approx(0.5, abs=0.01)
    assert share.var().item() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.04)  # of Beta(alpha, alpha)


def test_partners_are_spread_over_the_split_and_differ_with_the_seed() -> None:
    partners = drawn(mixup=1.0).partners_B
    assert torch.bincount(partners, minlength=500).min() > 15
    assert not partners.equal(drawn(mixup=1.0, seed=4).partners_B)


def test_an_image_is_mixed_alike_in_any_batch() -> None:
    whole, alone = drawn(cutmix=1.0), draw_mix(torch.tensor([17]), 500, params(cutmix=1.0), 3, 0)
    assert alone is not None
    for all_of_it, one in zip(whole, alone, strict=True):
        assert all_of_it is not None
        assert one is not None
        assert all_of_it[17:18].equal(one)


def test_mixup_is_the_weighted_mean() -> None:
    images, others = torch.ones(4, 3, 5, 6), torch.zeros(4, 3, 5, 6)
    mix = Mix(torch.arange(4), torch.tensor([0.0, 0.25, 0.5, 1.0]), None, None)
    found, share = mixed(images, others, mix)
    assert found[:, 0, 0, 0].tolist() == [0.0, 0.25, 0.5, 1.0]
    assert share.equal(mix.share_B)


def test_cutmix_pastes_a_box_and_counts_its_pixels() -> None:
    images, others = torch.ones(200, 3, 8, 10), torch.zeros(200, 3, 8, 10)
    found, share = mixed(images, others, drawn(cutmix=1.0, rows=200))
    assert found.mean(dim=(1, 2, 3)).allclose(share)
    for image in found[:, 0]:
        rows, columns = (image == 0).any(dim=1), (image == 0).any(dim=0)
        assert (image == 0).equal(rows[:, None] & columns[None, :]), "what is pasted is a box"
        assert int(rows.int().diff().abs().sum()) <= 2, "in one piece"
    assert set(found.flatten().tolist()) == {0.0, 1.0}


def test_both_at_once_are_refused() -> None:
    with pytest.raises(
        ValidationError, match=r"mixup \(0.2\) and cutmix \(1.0\) exclude each other; set one of them to 0"
    ):
        params(0.2, 1.0)
