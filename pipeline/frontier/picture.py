"""Accuracy against measured latency as PNG bytes, equal for equal numbers."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluate.pictures import png
from pipeline.frontier.candidates import Candidate, Frontier
from pipeline.frontier.points import VARIANTS

MARKS = {"dense": ("black", "D"), **dict(zip(VARIANTS, (("tab:blue", "o"), ("tab:orange", "s")), strict=True))}

PAPER = {"boxstyle": "square,pad=0.05", "facecolor": "white", "alpha": 0.8, "linewidth": 0}
"""Below a label."""


def draw(found: Frontier) -> bytes:
    """A panel for each batch size: latency to the right, top-1 on the test split upwards, and the steps of the Pareto set."""
    figure = Figure(figsize=(7 * len(found.batches), 6), layout="constrained")
    panels = figure.subplots(1, len(found.batches), sharey=True, squeeze=False).flat
    for axes, batch in zip(panels, found.batches, strict=True):
        _panel(axes, found, batch)
    figure.axes[0].set_ylabel("top-1 on the test split (fraction of images)")
    figure.suptitle(f"Labels: {', '.join(found.keys)}" if found.keys else "One point")
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=3 * len(found.batches), frameon=False
    )  # within it would hide points
    return png(figure)


def _panel(axes: Axes, found: Frontier, batch: int) -> None:
    everyone = [found.dense, *found.candidates]
    for variant, (colour, mark) in MARKS.items():
        some = [each for each in everyone if each.variant == variant]
        if some:
            axes.scatter(*_places(some, found, batch), color=colour, marker=mark, s=45, label=variant, zorder=3)
    best = found.pareto(batch)[::-1]
    axes.plot(*_places(best, found, batch), drawstyle="steps-post", color="grey", linestyle="--", label="Pareto set", zorder=1)
    axes.scatter(*_places(best, found, batch), s=150, facecolors="none", edgecolors="grey", zorder=2)
    axes.axvline(
        found.ms(found.dense, batch), color="black", linestyle=":", linewidth=1, label="to the right: slower than dense"
    )
    for place, text in _labels(everyone, found, batch).items():
        # Up and to the left of a point of the Pareto set there is nothing; labels of others may lie on its line.
        axes.annotate(text, place, (-6, 4), textcoords="offset points", ha="right", fontsize=8, bbox=PAPER, parse_math=False)
    device = found.dense.measured_on
    axes.set(xlabel=f"latency (ms): dense's time / speed-up measured in turns with it\n{device}", title=f"batch {batch}")
    axes.margins(0.1)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)


def _places(some: Sequence[Candidate], found: Frontier, batch: int) -> tuple[list[float], list[float]]:
    return [found.ms(each, batch) for each in some], [each.top1 for each in some]


def _labels(everyone: Sequence[Candidate], found: Frontier, batch: int) -> dict[tuple[float, float], str]:
    """By place; those of equal models stand below each other."""
    texts: dict[tuple[float, float], list[str]] = {}
    for each in everyone:
        texts.setdefault((found.ms(each, batch), each.top1), []).append(each.label or each.variant)
    return {place: "\n".join(labels) for place, labels in texts.items()}
