"""Labels beside each other as PNG bytes, equal for equal numbers. Letter: K labels."""

import numpy as np
from matplotlib.figure import Figure

from pipeline.drawing import LONGEST_DRAWN_NAME, drawable, plain_style, png
from pipeline.tasks.judging.arrays import Floats, Ints

MOST_BARS = 100
"""Labels with bars; of more, those of the lowest average precision."""
BAR_INCHES = 0.22
"""Height of a label's bars."""
MARGIN_INCHES = 1.2
"""Height of the title and the axis."""


@plain_style()
def draw_labels(average_precision_K: Floats, f1_K: Floats, classes: list[str]) -> bytes:
    """Two bars for each label, below each other in their order, so that names stay readable."""
    shown = labels_with_bars(average_precision_K)
    places = np.arange(len(shown))
    figure = Figure(figsize=(7, MARGIN_INCHES + BAR_INCHES * len(shown)), layout="tight")
    axes = figure.subplots()
    axes.barh(places - 0.2, average_precision_K[shown], height=0.4, label="average precision")
    axes.barh(places + 0.2, f1_K[shown], height=0.4, label="F1")
    axes.set_yticks(places, [drawable(classes[number], number) for number in shown], fontsize=8)
    title = "Labels" if len(shown) == len(classes) else f"The worst {len(shown)} of {len(classes)} labels"
    axes.set(xlim=(0, 1), ylim=(len(shown) - 0.5, -0.5), xlabel="share")
    axes.set_title(title, loc="left")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, fontsize=8)
    return png(figure)


def labels_with_bars(average_precision_K: Floats) -> Ints:
    """Numbers of the labels of the lowest average precision, at most MOST_BARS, in their order."""
    return np.sort(average_precision_K.argsort(kind="stable")[:MOST_BARS])


def caption(labels: Ints, classes: list[str]) -> str:
    """Names that one line takes, and how many are left: "cat, dog +3"; "none" without labels."""
    names = [drawable(classes[number], number) for number in labels.tolist()]
    fitting = [
        count for count in range(1, len(names) + 1) if len(", ".join(names[:count])) <= LONGEST_DRAWN_NAME
    ]
    count = max(fitting, default=1)
    left = f" +{len(names) - count}" if len(names) > count else ""
    return ", ".join(names[:count]) + left or "none"
