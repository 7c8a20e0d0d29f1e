"""Pictures are PNG files of the right content, the same bytes every time."""

import io

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from pipeline.drawing import (
    CAPTION_INCHES,
    CELL_INCHES,
    DPI,
    GRID_COLUMNS,
    SIDE_INCHES,
    TITLE_INCHES,
    draw_images,
)
from pipeline.tasks.reports.classification_pictures import draw_confusion
from pipeline.tasks.reports.reliability import Reliability, draw_reliability, reliability


def bins() -> Reliability:
    return reliability(np.linspace(0.5, 1, 20), np.arange(20) % 2 == 0, bins=10)


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    assert image.format == "PNG"
    return image


def test_pictures_are_the_same_bytes_every_time() -> None:
    confusion = np.array([[5, 1], [0, 4]])
    images = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    for _ in range(2):
        assert draw_confusion(confusion, ["a", "b"]) == draw_confusion(confusion, ["a", "b"])
        assert draw_reliability(bins()) == draw_reliability(bins())
        assert draw_images("t", images, ["a", "b"]) == draw_images("t", images, ["a", "b"])


def test_a_matplotlibrc_decides_no_picture() -> None:
    def drawn() -> list[bytes]:
        grid = draw_images("t", np.zeros((2, 1, 4, 4), np.uint8), ["", ""])
        return [draw_confusion(np.eye(2, dtype=np.int64), ["a", "b"]), draw_reliability(bins()), grid]

    plain = drawn()
    with mpl.rc_context(
        {"font.size": 20, "axes.facecolor": "red", "text.color": "blue", "savefig.facecolor": "yellow"}
    ):
        assert drawn() == plain


def test_other_numbers_are_another_picture() -> None:
    assert draw_confusion(np.eye(2, dtype=np.int64), ["a", "b"]) != draw_confusion(
        np.ones((2, 2), np.int64), ["a", "b"]
    )


@pytest.mark.parametrize("classes", [2, 20, 120])
def test_confusion_of_few_and_many_classes(classes: int) -> None:
    opened(draw_confusion(np.eye(classes, dtype=np.int64), [f"${name}_" for name in range(classes)]))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_grid_shows_grey_and_colour(channels: int) -> None:
    images = np.full((9, channels, 4, 4), 200, np.uint8)
    tall = opened(draw_images("t", images, [f"{row}" for row in range(9)]))
    flat = opened(draw_images("t", images[:3], ["a", "b", "c"]))
    assert tall.height > flat.height  # a second row


def shown(content: bytes, number: int, size: int) -> npt.NDArray[np.uint8]:
    """Pixels (C, size, size) of a square colour image of a grid: those in the middle of where each is drawn
    large.
    """
    row, column = divmod(number, GRID_COLUMNS)
    left, top = (
        (column + 0.5) * CELL_INCHES[0] - SIDE_INCHES / 2,
        TITLE_INCHES + row * CELL_INCHES[1] + CAPTION_INCHES,
    )
    steps = (np.arange(size) + 0.5) * SIDE_INCHES / size
    pixels_HWC = np.asarray(opened(content).convert("RGB"))
    place = np.ix_(((top + steps) * DPI).astype(int), ((left + steps) * DPI).astype(int))
    pixels_CHW: npt.NDArray[np.uint8] = pixels_HWC[place].transpose(2, 0, 1)
    return pixels_CHW


def test_each_image_stands_in_its_place_below_its_caption() -> None:
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 4, 4), np.uint8)
    captions = [f"{number}" for number in range(10)]
    content = draw_images("t", images, captions)
    assert all(np.array_equal(shown(content, number, 4), image) for number, image in enumerate(images))
    other = draw_images("t", images, [*captions[:9], "another"])
    rows, columns = np.nonzero((np.asarray(opened(content)) != np.asarray(opened(other))).any(axis=2))
    top, left = (TITLE_INCHES + CELL_INCHES[1]) * DPI, CELL_INCHES[0] * DPI
    assert top <= rows.min() < rows.max() < top + CAPTION_INCHES * DPI
    assert left <= columns.min() < columns.max() < 2 * left


def test_a_grid_without_an_image_is_a_picture_too() -> None:
    opened(draw_images("none", np.zeros((0, 3, 4, 4), np.uint8), []))
