"""Accuracy against measured latency as PNG bytes, equal for equal numbers."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluate.pictures import png
from pipeline.frontier.candidates import BATCHES, VARIANTS, Candidate, Frontier

MARKS = {"dense": ("black", "D"), **dict(zip(VARIANTS, (("tab:blue", "o"), ("tab:orange", "s")), strict=True))}


def draw(found: Frontier) -> bytes:
    """A panel for each batch size: latency to the right, top-1 on the test split upwards, and the line of the Pareto set."""
    figure = Figure(figsize=(7 * len(BATCHES), 5.5))
    for axes, batch in zip(figure.subplots(1, len(BATCHES), sharey=True, squeeze=False).flat, BATCHES, strict=True):
        _panel(axes, found, batch)
    figure.axes[0].set_ylabel("top-1 on the test split")
    figure.suptitle(f"Points: {', '.join(found.keys)}" if found.keys else "One point")
    return png(figure)


def _panel(axes: Axes, found: Frontier, batch: int) -> None:
    everyone = [found.dense, *found.candidates]
    for variant, (colour, mark) in MARKS.items():
        some = [each for each in everyone if each.variant == variant]
        if some:
            axes.scatter(*_places(some, found, batch), color=colour, marker=mark, s=45, label=variant, zorder=3)
    best = found.pareto(batch)
    axes.plot(*_places(best, found, batch), color="grey", linestyle="--", label="Pareto set", zorder=1)
    axes.scatter(*_places(best, found, batch), s=150, facecolors="none", edgecolors="grey", zorder=2)
    for each in everyone:
        place = (each.ms(batch, found.dense), each.top1)
        axes.annotate(each.label or "dense", place, xytext=(5, 5), textcoords="offset points", fontsize=8)
    device = found.dense.measured_on
    axes.set(xlabel=f"ms at batch {batch}: dense's time / speed-up measured in turns with it\n{device}", title=f"batch {batch}")
    axes.margins(0.12)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")


def _places(some: list[Candidate], found: Frontier, batch: int) -> tuple[list[float], list[float]]:
    return [each.ms(batch, found.dense) for each in some], [each.top1 for each in some]
