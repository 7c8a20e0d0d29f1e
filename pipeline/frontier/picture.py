"""Accuracy against measured latency as PNG bytes, equal for equal numbers."""

from collections.abc import Sequence
from itertools import product

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from pipeline.drawing import plain_style, png
from pipeline.frontier.candidates import Candidate, Frontier
from pipeline.frontier.points import COMPARED_VARIANTS

MARKS = {
    "dense": ("black", "D"),
    **dict(zip(COMPARED_VARIANTS, (("tab:blue", "o"), ("tab:orange", "s")), strict=True)),
}

LABEL_AWAY = (5, 16, 28, 42)
"""Points between a mark and its label, nearest first."""
LABEL_SIDES = ((-1, 1), (1, 1), (-1, -1), (1, -1))
"""Directions to the right and up, best first: above and left of a point of the Pareto set is no other."""
PAPER = {"boxstyle": "square,pad=0.05", "facecolor": "white", "alpha": 0.8, "linewidth": 0}
"""Below a label: the line of the Pareto set may run there."""
LABEL_LINE = {"arrowstyle": "-", "color": "grey", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 4}


@plain_style()
def draw_frontier(found: Frontier) -> bytes:
    """`plot` as a file."""
    return png(plot(found))


def plot(found: Frontier) -> Figure:
    """A panel for each batch size: latency to the right, score on the test split upwards, and the steps of
    the Pareto set.
    """
    figure = Figure(figsize=(7 * len(found.batches), 6), layout="constrained")
    panels = figure.subplots(1, len(found.batches), sharey=True, squeeze=False).flat
    for axes, batch in zip(panels, found.batches, strict=True):
        _panel(axes, found, batch)
    figure.axes[0].set_ylabel("score on the test split")
    figure.suptitle(f"Labels: {', '.join(found.keys)}" if found.keys else "One point")
    handles, names = figure.axes[0].get_legend_handles_labels()
    # Within it would hide points.
    figure.legend(handles, names, loc="outside lower center", ncols=3 * len(found.batches), frameon=False)
    figure.draw_without_rendering()  # where the panels are, labels can be laid out
    for axes, batch in zip(figure.axes, found.batches, strict=True):
        _annotate(axes, _labels([found.dense, *found.candidates], found, batch))
    return figure


def _panel(axes: Axes, found: Frontier, batch: int) -> None:
    everyone = [found.dense, *found.candidates]
    for variant, (colour, mark) in MARKS.items():
        some = [each for each in everyone if each.variant == variant]
        if some:
            axes.scatter(
                *_places(some, found, batch), color=colour, marker=mark, s=45, label=variant, zorder=3
            )
    best = found.pareto(batch)[::-1]
    axes.plot(
        *_places(best, found, batch),
        drawstyle="steps-post",
        color="grey",
        linestyle="--",
        label="Pareto set",
        zorder=1,
    )
    axes.scatter(*_places(best, found, batch), s=150, facecolors="none", edgecolors="grey", zorder=2)
    axes.axvline(
        found.ms(found.dense, batch),
        color="black",
        linestyle=":",
        linewidth=1,
        label="to the right: slower than dense",
    )
    device = found.dense.measured_on
    axes.set(
        xlabel=f"latency (ms): dense's time / speed-up measured in turns with it\n{device}",
        title=f"batch {batch}",
    )
    axes.margins(0.1)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)


def _annotate(axes: Axes, labels: dict[tuple[float, float], str]) -> None:
    """Put each label at the first free place around its point, tied to it by a line.

    If all are taken, at the last: a label that lies on another is better than none.
    """
    points = axes.transData.transform(list(labels))
    taken = [Bbox.from_extents(x - 5, y - 5, x + 5, y + 5) for x, y in points]
    for place, text in labels.items():
        label = axes.annotate(
            text,
            place,
            (0, 0),
            textcoords="offset points",
            fontsize=8,
            arrowprops=LABEL_LINE,
            bbox=PAPER,
            parse_math=False,
        )
        for away, (right, up) in product(LABEL_AWAY, LABEL_SIDES):
            label.set(
                position=(right * away, up * away),
                ha="left" if right > 0 else "right",
                va="bottom" if up > 0 else "top",
            )
            label.get_window_extent()  # moves the text; what it returns has the line in it
            box = Text.get_window_extent(label)
            if _free(box, axes, taken):
                break
        taken.append(box)


def _free(box: Bbox, axes: Axes, taken: Sequence[Bbox]) -> bool:
    inside = (
        axes.bbox.x0 <= box.x0
        and box.x1 <= axes.bbox.x1
        and axes.bbox.y0 <= box.y0
        and box.y1 <= axes.bbox.y1
    )
    return inside and not any(box.overlaps(other) for other in taken)


def _places(some: Sequence[Candidate], found: Frontier, batch: int) -> tuple[list[float], list[float]]:
    return [found.ms(each, batch) for each in some], [each.score for each in some]


def _labels(everyone: Sequence[Candidate], found: Frontier, batch: int) -> dict[tuple[float, float], str]:
    """Labels by place; those of equal models stand below each other."""
    texts: dict[tuple[float, float], list[str]] = {}
    for each in everyone:
        texts.setdefault((found.ms(each, batch), each.score), []).append(each.label or each.variant)
    return {place: "\n".join(labels) for place, labels in texts.items()}
