"""The confusion of a classifier as PNG bytes, equal for equal numbers. Letter: K classes."""

import numpy as np
from matplotlib.figure import Figure

from pipeline.drawing import drawable, plain_style, png
from pipeline.tasks.judging.arrays import Ints

LABELLED_CLASSES = 20
"""Above this many classes a matrix shows no names and no numbers: they would overlap."""
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
