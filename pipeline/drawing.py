"""What all pictures share: matplotlib's own style, names that its own font can write, grids of images.

Pictures are PNG bytes, equal for equal numbers. Letters: N, C, H, W.
"""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
import matplotlib.style
import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DPI = 100
GRID_COLUMNS = 8
"""Most of a grid of images."""
MIN_COLUMNS = 3
TITLE_INCHES = 0.5
"""Height of a grid's title."""
CAPTION_INCHES = 0.35
"""Height of an image's caption."""
SIDE_INCHES = 1.35
"""Longer side of an image."""
CELL_INCHES = (1.5, 1.8)
"""Width and height of an image's cell."""

LONGEST_DRAWN_NAME = 24
LAST_LETTER = "ÿ"
"""Last letter that matplotlib's own font surely has; for a later one it draws a box, and warns."""


@contextmanager
def plain_style() -> Iterator[None]:
    """Matplotlib's defaults, whatever a matplotlibrc says, and names with $ that are no formulas."""
    with mpl.style.context("default"), mpl.rc_context({"text.parse_math": False}):
        yield


def drawable(name: str, number: int) -> str:
    """The name of a class as a picture can show it, on one line; "class 3" for one that it cannot."""
    if not name.isprintable() or any(letter > LAST_LETTER for letter in name):
        return f"class {number}"
    return name if len(name) <= LONGEST_DRAWN_NAME else name[: LONGEST_DRAWN_NAME - 1] + "..."


@plain_style()
def draw_images(title: str, images_NCHW: npt.NDArray[np.uint8], captions: list[str]) -> bytes:
    """A grid of images with a caption each, under a title; in one plot, because 25 plots took seven times as
    long.
    """
    columns = min(GRID_COLUMNS, max(MIN_COLUMNS, len(captions)))
    width, height = (
        columns * CELL_INCHES[0],
        max(1, math.ceil(len(captions) / columns)) * CELL_INCHES[1] + TITLE_INCHES,
    )
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    axes.text(width / 2, TITLE_INCHES / 2, title, ha="center", va="center", fontsize=10)
    for number, (image_CHW, caption) in enumerate(zip(images_NCHW, captions, strict=True)):
        row, column = divmod(number, columns)
        middle, top = (column + 0.5) * CELL_INCHES[0], TITLE_INCHES + row * CELL_INCHES[1] + CAPTION_INCHES
        grey = image_CHW.shape[0] == 1
        shown = image_CHW[0] if grey else image_CHW.transpose(1, 2, 0)
        x, y = (SIDE_INCHES * side / max(shown.shape[:2]) for side in (shown.shape[1], shown.shape[0]))
        extent = (middle - x / 2, middle + x / 2, top + y, top)
        axes.imshow(shown, cmap="gray" if grey else None, vmin=0, vmax=255, extent=extent)
        axes.text(middle, top - 0.03, caption, ha="center", va="bottom", fontsize=7)
    axes.set(xlim=(0, width), ylim=(height, 0))
    return png(figure)


def png(figure: Figure) -> bytes:
    """The figure as a file, without the name of the program that drew it, which would change with its
    version.
    """
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=DPI, metadata={"Software": None})
    return content.getvalue()
