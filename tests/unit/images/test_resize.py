"""Every resize rule, on images of every shape."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.images.pixels import pixels
from pipeline.images.resize import resized, window_of
from pipeline.images.rule import Crop, Filter, Fit, ImageRule, Pad, Resize, Stretch
from tests.support.data_samples import encoded
from tests.support.data_samples import pixels as noise

RESIZES: list[Resize] = [
    Stretch(rule="stretch", filter="bilinear"),
    Fit(rule="fit", filter="bilinear"),
    Crop(rule="crop", size=16, filter="bilinear"),
    Pad(rule="pad", filter="bilinear"),
]


def rule(resize: Resize, height: int = 12, width: int = 16, channels: int = 3) -> ImageRule:
    return ImageRule(height, width, channels, resize, "refuse")


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.sampled_from(RESIZES), st.integers(1, 90), st.integers(1, 90), st.sampled_from(["RGB", "L"]))
def test_every_shape_becomes_the_one_asked_for(resize: Resize, width: int, height: int, mode: str) -> None:
    to = rule(resize, channels=len(mode))
    assert resized(Image.new(mode, (width, height), "white"), to).size == (16, 12)


def test_stretch_is_pillows_resize() -> None:
    image = Image.fromarray(noise(1, 30, 50))
    found = pixels(encoded(image), rule(RESIZES[0]))
    assert found.tolist() == np.asarray(image.resize((16, 12), Image.Resampling.BILINEAR)).tolist()


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (256, 256), (501, 256), (97, 111)])
def test_crop_is_torchvisions_resize_and_centre_crop(size: tuple[int, int]) -> None:
    """Their formulas, written out, as the network's weights were trained: two steps there, one here."""
    image = Image.fromarray(noise(1, size[1], size[0]))
    w, h = size
    scaled = (64, int(64 * h / w)) if w <= h else (int(64 * w / h), 64)
    left, top = (round((side - cut) / 2.0) for side, cut in zip(scaled, (56, 48), strict=True))
    theirs = image.resize(scaled, Image.Resampling.BICUBIC).crop((left, top, left + 56, top + 48))
    ours = resized(image, rule(Crop(rule="crop", size=64, filter="bicubic"), 48, 56))
    difference = np.abs(np.asarray(ours).astype(int) - np.asarray(theirs))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.01


def test_fit_shows_the_middle_whole_in_one_direction() -> None:
    assert window_of((400, 100), rule(Fit(rule="fit", filter="box"), 10, 20)).box == (100, 0, 300, 100)
    assert window_of((100, 400), rule(Fit(rule="fit", filter="box"), 10, 20)).box == (0, 175, 100, 225)
    image = Image.new("RGB", (30, 10), "red")
    image.paste("blue", (10, 0, 20, 10))
    seen = pixels(encoded(image), rule(Fit(rule="fit", filter="box"), 5, 5))
    assert {tuple(pixel) for pixel in seen.reshape(-1, 3).tolist()} == {(0, 0, 255)}


def test_pad_shows_all_in_the_middle_of_black() -> None:
    seen = pixels(encoded(Image.new("RGB", (40, 10), "white")), rule(Pad(rule="pad", filter="box"), 8, 8))
    assert seen[:, 0, 0].tolist() == [0, 0, 0, 255, 255, 0, 0, 0]
    assert (seen == seen[:, :1]).all()


@pytest.mark.parametrize("kind", ["bilinear", "bicubic", "lanczos", "box"])
def test_shrinking_is_antialiased_with_every_filter(kind: Filter) -> None:
    board = Image.fromarray(((np.indices((96, 128)).sum(axis=0) % 2) * 255).astype(np.uint8))
    seen = pixels(encoded(board), rule(Stretch(rule="stretch", filter=kind), channels=1))
    assert seen[2:-2, 2:-2].min() > 115
    assert seen[2:-2, 2:-2].max() < 140


def test_a_jpeg_decoded_at_a_part_of_its_size_is_nearly_the_same() -> None:
    """Of a picture with detail at every scale."""
    random = np.random.default_rng(0)
    parts = [
        np.asarray(Image.fromarray(random.normal(0, 20, (side, side)).astype(np.float32)).resize((800, 800)))
        for side in (4, 16, 64, 256, 800)
    ]
    image = Image.fromarray((np.sum(parts, axis=0) + 128).clip(0, 255).astype(np.uint8))
    data = encoded(image, "JPEG", quality=95)
    to = ImageRule(96, 96, 1, Fit(rule="fit", filter="bilinear"), "refuse")
    whole = resized(Image.open(io.BytesIO(data)), to)
    difference = np.abs(pixels(data, to)[..., 0].astype(int) - np.asarray(whole))
    assert difference.mean() < 1.5
