"""Whole-batch augmentation against a plain loop over pixels, and normalisation against its formula."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.data.augment import Draws, augment, draw, normalise, uniform
from pipeline.data.params import AugmentParams

EVERYTHING = AugmentParams(flip=0.5, crop_padding=2, cutout=3, mixup=0.0, cutmix=0.0)


def batch(num_images: int = 6, channels: int = 3, height: int = 5, width: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(num_images)
    images = torch.randint(1, 256, (num_images, height, width, channels), generator=generator, dtype=torch.uint8)
    return images.permute(0, 3, 1, 2)


def drawn(num_images: int, params: AugmentParams, seed: int = 0) -> Draws:
    return draw(torch.arange(num_images), params, seed)


def slowly(images_BCHW: Tensor, draws: Draws) -> Tensor:
    """The same, pixel by pixel."""
    result = torch.zeros_like(images_BCHW)
    num_images, _, height, width = images_BCHW.shape
    assert draws.dy is not None and draws.dx is not None and draws.flip is not None  # noqa: PT018
    assert draws.cut_y is not None and draws.cut_x is not None  # noqa: PT018
    for b in range(num_images):
        top = int(draws.cut_y[b] * height) - draws.cutout // 2
        left = int(draws.cut_x[b] * width) - draws.cutout // 2
        for y in range(height):
            for x in range(width):
                source_y = y + int(draws.dy[b])
                source_x = (width - 1 - x if draws.flip[b] else x) + int(draws.dx[b])
                cut = top <= y < top + draws.cutout and left <= x < left + draws.cutout
                if 0 <= source_y < height and 0 <= source_x < width and not cut:
                    result[b, :, y, x] = images_BCHW[b, :, source_y, source_x]
    return result


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 5), st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9), st.integers(0, 99))
def test_gather_equals_the_plain_loop(num_images: int, channels: int, height: int, width: int, seed: int) -> None:
    images, draws = batch(num_images, channels, height, width), drawn(num_images, EVERYTHING, seed)
    assert augment(images, draws).equal(slowly(images, draws))


def test_all_off_returns_the_input_itself() -> None:
    images = batch()
    assert augment(images, drawn(6, AugmentParams(flip=0.0, crop_padding=0, cutout=0, mixup=0.0, cutmix=0.0))) is images


def test_zero_shift_is_the_identity() -> None:
    images, zero = batch(), torch.zeros(6, dtype=torch.int64)
    assert augment(images, Draws(zero, zero, None, None, None, 0)).equal(images)


def test_certain_flip_turns_every_image_and_twice_gives_it_back() -> None:
    images, draws = batch(), drawn(6, AugmentParams(flip=1.0, crop_padding=0, cutout=0, mixup=0.0, cutmix=0.0))
    flipped = augment(images, draws)
    assert flipped.equal(images.flip(3))
    assert augment(flipped, draws).equal(images)


def test_result_is_channels_last_and_the_input_untouched() -> None:
    images = batch()
    before = images.clone()
    result = augment(images, drawn(6, EVERYTHING))
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert result.dtype == torch.uint8
    assert images.equal(before)


def test_images_in_ordinary_strides_give_the_same() -> None:
    images, draws = batch(), drawn(6, EVERYTHING)
    assert augment(images.contiguous(), draws).equal(augment(images, draws))


def test_an_image_is_changed_alike_in_any_batch() -> None:
    samples = torch.tensor([7, 3, 11, 2**40])
    whole, alone = draw(samples, EVERYTHING, 5), draw(samples[2:3], EVERYTHING, 5)
    for all_of_it, one in zip(whole[:5], alone[:5], strict=True):
        assert all_of_it is not None
        assert one is not None
        assert all_of_it[2:3].equal(one)


def test_draws_are_uniform_and_streams_and_seeds_differ() -> None:
    samples = torch.arange(100_000)
    first = uniform(samples, 1, 0)
    assert 0 <= first.min() < first.max() < 1
    counts = torch.histc(first, 20, 0, 1)
    assert ((counts - 5000).square() / 5000).sum() < 43.8  # chi-square, 19 degrees of freedom, p = 0.001
    for other in (uniform(samples, 2, 0), uniform(samples, 1, 1), uniform(samples + 1, 1, 0)):
        assert torch.corrcoef(torch.stack([first, other]))[0, 1].abs() < 0.01
    # SplitMix64 of the state 0: its first output is e220a8397b1dcdaf.
    assert uniform(torch.tensor([1]), 0, 0).item() == (0xE220A8397B1DCDAF >> 40) / 2**24


def test_draws_stay_within_their_bounds_and_reach_them() -> None:
    draws = drawn(2000, EVERYTHING)
    assert draws.dy is not None and draws.dx is not None and draws.flip is not None and draws.cut_y is not None  # noqa: PT018
    for shift in (draws.dy, draws.dx):
        assert sorted(set(shift.tolist())) == [-2, -1, 0, 1, 2]
    assert draws.flip.double().mean().item() == pytest.approx(0.5, abs=0.05)
    assert 0 <= draws.cut_y.min() < 0.01
    assert 0.99 < draws.cut_y.max() < 1


def test_draws_repeat_with_the_seed_and_follow_the_stated_streams() -> None:
    draws, again, other = drawn(50, EVERYTHING, 1), drawn(50, EVERYTHING, 1), drawn(50, EVERYTHING, 2)
    assert augment(batch(50), draws).equal(augment(batch(50), again))
    assert not augment(batch(50), draws).equal(augment(batch(50), other))
    numbers = [uniform(torch.arange(50), 1, stream) for stream in range(5)]
    expected = [*((numbers[n] * 5).long() - 2 for n in (0, 1)), numbers[2] < 0.5, *numbers[3:]]
    assert all(tensor is not None and tensor.equal(wanted) for tensor, wanted in zip(draws[:5], expected, strict=True))


@pytest.mark.parametrize("channels", [1, 3])
def test_normalise_follows_its_formula_in_channels_last(channels: int) -> None:
    images = batch(channels=channels)
    mean, std = torch.linspace(0.2, 0.6, channels), torch.linspace(0.1, 0.3, channels)
    result = normalise(images, mean, std)
    expected = (images.double() / 255 - mean.double()[:, None, None]) / std.double()[:, None, None]
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(result.double(), expected, atol=1e-5, rtol=1e-5)
    assert images.dtype == torch.uint8
