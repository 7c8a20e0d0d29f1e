"""Whole-batch augmentation against a plain loop over pixels."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.data.augmentation.augment import Draws, augment, draw_choices
from pipeline.data.augmentation.params import AugmentParams
from pipeline.data.augmentation.streams import stream_seed, uniform

EVERYTHING = AugmentParams(
    resized_crop=None,
    color_jitter=None,
    trivial=False,
    flip="random",
    crop_padding=2,
    crop_fill="black",
    cutout=3,
    erase=0.0,
    mixup=0.0,
    cutmix=0.0,
)
OFF = AugmentParams(
    resized_crop=None,
    color_jitter=None,
    trivial=False,
    flip="none",
    crop_padding=0,
    crop_fill="black",
    cutout=0,
    erase=0.0,
    mixup=0.0,
    cutmix=0.0,
)


def batch(num_images: int = 6, channels: int = 3, height: int = 5, width: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(num_images)
    images = torch.randint(
        1, 256, (num_images, height, width, channels), generator=generator, dtype=torch.uint8
    )
    return images.permute(0, 3, 1, 2)


def drawn(num_images: int, params: AugmentParams, seed: int = 0, epoch: int = 0) -> Draws:
    return draw_choices(torch.arange(num_images), params, seed, epoch)


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
def test_gather_equals_the_plain_loop(
    num_images: int, channels: int, height: int, width: int, seed: int
) -> None:
    images, draws = batch(num_images, channels, height, width), drawn(num_images, EVERYTHING, seed)
    assert augment(images, draws).equal(slowly(images, draws))


def test_what_a_shift_uncovers_can_be_the_image_mirrored() -> None:
    images = batch(4, 3, 6, 7)
    shift = torch.tensor([-2, 0, 1, 2])
    draws = Draws(shift, shift.flip(0), torch.tensor([False, True, False, True]), None, None, mirrored=True)
    padded = torch.nn.functional.pad(images.float(), (2, 2, 2, 2), mode="reflect").to(torch.uint8)
    for b, found in enumerate(augment(images, draws)):
        source = padded[b].flip(2) if draws.flip is not None and draws.flip[b] else padded[b]
        dx = int(shift.flip(0)[b]) * (-1 if draws.flip is not None and draws.flip[b] else 1)
        assert found.equal(source[:, 2 + shift[b] : 8 + shift[b], 2 + dx : 9 + dx])


def test_alternating_flips_show_every_other_side() -> None:
    params = OFF.model_copy(update={"flip": "alternating"})
    flips = [drawn(1000, params, seed=3, epoch=epoch).flip for epoch in range(4)]
    assert all(flip is not None for flip in flips)
    assert flips[0].double().mean().item() == pytest.approx(0.5, abs=0.05)  # type: ignore[union-attr]
    for before, after in itertools.pairwise(flips):
        assert (before ^ after).all()  # type: ignore[operator]


def test_erased_rectangles_have_the_areas_and_ratios_of_the_paper() -> None:
    params = OFF.model_copy(update={"erase": 0.25})
    draws = drawn(20_000, params)
    assert draws.cut_h is not None
    assert draws.cut_w is not None
    chosen = draws.cut_h > 0
    assert chosen.double().mean().item() == pytest.approx(0.25, abs=0.01)
    area, ratio = draws.cut_h[chosen] * draws.cut_w[chosen], draws.cut_h[chosen] / draws.cut_w[chosen]
    assert 0.0199 < area.min() < 0.021
    assert 0.32 < area.max() < 0.3301
    assert 0.2999 < ratio.min() < 0.31
    assert 3.2 < ratio.max() < 3.334
    found = augment(torch.full((400, 3, 20, 30), 9, dtype=torch.uint8), drawn(400, params))
    black = (found == 0).double().mean(dim=(1, 2, 3))
    assert black[draws.cut_h[:400] == 0].max() == 0
    expected = (draws.cut_h * draws.cut_w)[:400]
    assert (black <= expected * 1.35 + 0.01).all(), (
        "no more than the rectangle, a part of which may fall outside"
    )
    assert black.sum() > 0.6 * expected.sum()


def test_all_off_returns_the_input_itself() -> None:
    images = batch()
    assert augment(images, drawn(6, OFF)) is images


def test_zero_shift_is_the_identity() -> None:
    images, zero = batch(), torch.zeros(6, dtype=torch.int64)
    assert augment(images, Draws(zero, zero, None, None, None)).equal(images)


def test_a_flip_turns_an_image_and_twice_gives_it_back() -> None:
    images, draws = batch(), Draws(None, None, torch.ones(6, dtype=torch.bool), None, None)
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
    whole, alone = draw_choices(samples, EVERYTHING, 5, 1), draw_choices(samples[2:3], EVERYTHING, 5, 1)
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
    assert draws.dy is not None
    assert draws.dx is not None
    assert draws.flip is not None
    assert draws.cut_y is not None
    for shift in (draws.dy, draws.dx):
        assert sorted(set(shift.tolist())) == [-2, -1, 0, 1, 2]
    assert draws.flip.double().mean().item() == pytest.approx(0.5, abs=0.05)
    assert 0 <= draws.cut_y.min() < 0.01
    assert 0.99 < draws.cut_y.max() < 1


def test_draws_repeat_with_the_seed_and_follow_the_stated_streams() -> None:
    draws, again, other = drawn(50, EVERYTHING, 1), drawn(50, EVERYTHING, 1), drawn(50, EVERYTHING, 2)
    assert augment(batch(50), draws).equal(augment(batch(50), again))
    assert not augment(batch(50), draws).equal(augment(batch(50), other))
    numbers = [uniform(torch.arange(50), stream_seed("augment", 1, 0), stream) for stream in range(5)]
    expected = [*((numbers[n] * 5).long() - 2 for n in (0, 1)), numbers[2] < 0.5, *numbers[3:]]
    assert all(
        tensor is not None and tensor.equal(wanted)
        for tensor, wanted in zip(draws[:5], expected, strict=True)
    )
