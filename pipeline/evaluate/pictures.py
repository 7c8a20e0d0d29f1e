"""Pictures of an evaluation as PNG bytes, equal for equal numbers. Letters: N, C, H, W, K classes."""

import io
import math

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.drawing import drawable, plain_style
from pipeline.evaluate.metrics import Ints, Reliability

DPI = 100
LABELLED_CLASSES = 20
"""Above this many classes a matrix shows no names and no numbers: they would overlap."""
COLUMNS = 8
MIN_COLUMNS = 3
TITLE_INCHES = 0.5
"""Height of the title over a grid of images."""
CAPTION_INCHES = 0.35
"""Height of the caption under an image."""
SIDE_INCHES = 1.35
"""Longer side of an image."""
CELL_INCHES = (1.5, 1.8)
"""Width and height of an image's cell."""
MIDDLE = 0.5
"""Middle of the colour scale: darker cells get white numbers."""


@plain_style()
def draw_confusion(confusion_KK: Ints, classes: list[str]) -> bytes:
    """Rows of the confusion matrix, each divided by its sum; counts are written into the cells."""
    support = confusion_KK.sum(axis=1, keepdims=True)
    shares = confusion_KK / np.maximum(support, 1)
    figure = Figure(figsize=(7, 6), layout="tight")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="actual", title="Confusion")
    if len(classes) <= LABELLED_CLASSES:
        names = [drawable(name, number) for number, name in enumerate(classes)]
        axes.set_xticks(range(len(classes)), names, rotation=45, ha="right")
        axes.set_yticks(range(len(classes)), names)
        for actual, predicted in np.argwhere(confusion_KK > 0).tolist():
            colour = "white" if shares[actual, predicted] > MIDDLE else "black"
            count = str(confusion_KK[actual, predicted])
            axes.text(predicted, actual, count, ha="center", va="center", color=colour, fontsize=8)
    return png(figure)


@plain_style()
def draw_reliability(bins: Reliability) -> bytes:
    """Accuracy against confidence, with the diagonal of a calibrated model, and how many answers fall in each
    bin.
    """
    width = 1 / len(bins.lower)
    figure = Figure(figsize=(6, 6), layout="tight")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.bar(bins.lower, bins.accuracy, width=width, align="edge", edgecolor="black", label="accuracy")
    above.plot([0, 1], [0, 1], linestyle="--", color="grey", label="calibrated")
    above.set(xlim=(0, 1), ylim=(0, 1), ylabel="accuracy", title=f"Reliability (ECE {bins.ece:.4f})")
    above.legend(loc="upper left")
    below.bar(bins.lower, bins.count, width=width, align="edge", edgecolor="black")
    below.set(xlabel="confidence", ylabel="images")
    return png(figure)


@plain_style()
def draw_images(title: str, images_NCHW: npt.NDArray[np.uint8], captions: list[str]) -> bytes:
    """A grid of images with a caption each, under a title; in one plot, because 25 plots took seven times as
    long.
    """
    columns = min(COLUMNS, max(MIN_COLUMNS, len(captions)))
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
