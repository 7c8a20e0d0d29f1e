"""The data card: what a person should have seen before training on prepared data."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.base.files import csv_text
from pipeline.data.fields.field import PIXELS, TargetField, Values
from pipeline.data.fields.image import Pixels
from pipeline.data.prepared.images import split_images
from pipeline.data.prepared.manifest import Manifest
from pipeline.data.prepared.shards import Indices, map_shards
from pipeline.drawing import drawable, plain_style

SAMPLES_PER_CLASS = 12
MOST_CLASSES_SHOWN = 20
"""Classes with sample images or a named bar; the table in card.md has all of them."""
SPLIT_COLOURS = {"train": "#4c72b0", "val": "#dd8452", "test": "#55a868"}
QUARANTINE = ("file", "row", "reason", "detail")
"""Columns of quarantine.csv and quarantine.parquet."""
GAP_PIXELS = 1
LARGEST_THUMBNAIL = 256
"""Pixels of a side in samples.png, which gives an image some 80."""
MOST_STRETCHED = 4.0
"""Height over width, or width over height, in samples.png: line scans are drawn wider, to be seen."""


def write_card(
    folder: Path, manifest: Manifest, quarantine: pa.Table, findings: list[str], prepared: Path
) -> None:
    """Write card.md, quarantine.csv and .parquet, classes.png and samples.png; always the same bytes."""
    pq.write_table(quarantine.select(QUARANTINE), folder / "quarantine.parquet")
    rows = zip(*(quarantine.column(name).to_pylist() for name in QUARANTINE), strict=True)
    (folder / "card.md").write_text(_markdown(manifest, findings), encoding="utf-8")
    (folder / "quarantine.csv").write_text(csv_text(QUARANTINE, rows), encoding="utf-8", newline="")
    with plain_style():
        _save(_histogram(manifest), folder / "classes.png")
        _save(_samples(manifest, map_shards(prepared, "train")), folder / "samples.png")


def _markdown(manifest: Manifest, findings: list[str]) -> str:
    image = manifest.image
    size = (
        f"{image.height} x {image.width} pixels, {image.channels} channel{'s' if image.channels > 1 else ''}"
    )
    return "\n".join(
        [
            f"# Data card: {_cell(manifest.source.name)}",
            "",
            f"- source content: sha256 `{manifest.source.sha256}`",
            f"- images: {size}",
            *(f"- {name}: {field.words}" for name, field in manifest.targets.items()),
            f"- train mean {_floats(image.mean)}, standard deviation {_floats(image.std)} (pixels "
            "scaled to 0..1)",
            "",
            *(line for name, field in manifest.targets.items() for line in _table(manifest, name, field)),
            *_other_files(manifest.source.left_out),
            "## What became of the rows",
            "",
            *_counts(manifest.outcomes),
            "",
            *(["Repaired in the copy:", "", *_counts(manifest.repaired), ""] if manifest.repaired else []),
            "## Defective rows, left out (each one in quarantine.csv)",
            "",
            *(_counts(manifest.quarantined) or ["None."]),
            "",
            "## Findings (data.limits.strict refuses them)",
            "",
            *([f"- {_cell(finding)}" for finding in findings] or ["None."]),
            "",
            "## Exact duplicates between splits (images of the second split whose pixels stand in the first)",
            "",
            *_counts(manifest.duplicates),
            "",
            "![classes](classes.png)",
            "",
            "![samples](samples.png)",
            "",
        ]
    )


def _table(manifest: Manifest, name: str, field: TargetField) -> list[str]:
    """Rows of each group of a target."""
    splits = manifest.splits
    counts = zip(field.groups, *(info.counts[name] for info in splits.values()), strict=True)
    return [
        f"| {name} | {' | '.join(splits)} |",
        f"|---|{'---:|' * len(splits)}",
        *(f"| {_cell(group)} | {' | '.join(str(count) for count in row)} |" for group, *row in counts),
        f"| **all** | {' | '.join(str(info.rows) for info in splits.values())} |",
        "",
    ]


def _other_files(left_out: dict[str, int]) -> list[str]:
    return ["## Files that are no rows", "", *_counts(left_out), ""] if left_out else []


def _counts(counts: dict[str, int]) -> list[str]:
    return [f"- {key}: {count}" for key, count in counts.items()]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _floats(values: list[float]) -> str:
    return ", ".join(f"{value:.4f}" for value in values)


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=120, metadata={"Software": None})


def _histogram(manifest: Manifest) -> Figure:
    """Images per group of each target, the splits stacked."""
    shown = [min(len(field.groups), MOST_CLASSES_SHOWN) for field in manifest.targets.values()]
    figure = Figure(figsize=(7, sum(1.2 + 0.28 * bars for bars in shown)), layout="constrained")
    panels = figure.subplots(len(shown), squeeze=False, height_ratios=[1.2 + 0.28 * bars for bars in shown])
    for axes, (name, field) in zip(panels[:, 0], manifest.targets.items(), strict=True):
        _bars(axes, manifest, name, field)
    figure.legend(
        *panels[0, 0].get_legend_handles_labels(),
        loc="outside upper right",
        ncols=len(manifest.splits),
        frameon=False,
    )
    return figure


def _bars(axes: Axes, manifest: Manifest, name: str, field: TargetField) -> None:
    groups = field.groups
    left = np.zeros(len(groups), np.int64)
    for split, info in manifest.splits.items():
        counts = info.counts[name]
        places, colour = np.arange(len(groups)), SPLIT_COLOURS[split]
        axes.barh(places, counts, left=left, height=0.8, color=colour, label=split)
        left += np.array(counts)
    if len(groups) <= MOST_CLASSES_SHOWN:
        axes.set_yticks(range(len(groups)), [drawable(group, number) for number, group in enumerate(groups)])
    axes.invert_yaxis()
    axes.set_xlabel("images" if len(manifest.targets) == 1 else f"images, by {name}")
    axes.spines[["top", "right"]].set_visible(False)


def _samples(manifest: Manifest, columns: Mapping[str, list[Values]]) -> Figure:
    """Train images of each group of the first target, evenly spaced over its rows."""
    name, field = next(iter(manifest.targets.items()))
    train, values = split_images(manifest, "train", columns[PIXELS]), np.concatenate(columns[name])
    shown = field.groups[:MOST_CLASSES_SHOWN]
    images = [_thumbnails(train.final(_evenly(rows))) for rows in field.members(values)[: len(shown)]]
    rows = [_class_row(images_BHWC) for images_BHWC in images]
    height = rows[0].shape[0]
    ratio = min(max(manifest.image.height / manifest.image.width, 1 / MOST_STRETCHED), MOST_STRETCHED)
    figure = Figure(figsize=(8, 0.8 + 0.5 * len(rows) * ratio), layout="constrained")
    axes = figure.add_subplot()
    stretch = ratio * images[0].shape[2] / images[0].shape[1]
    axes.imshow(
        np.concatenate(rows).squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest", aspect=stretch
    )
    axes.set_yticks(
        [height * number + height // 2 for number in range(len(rows))],
        [drawable(group, number) for number, group in enumerate(shown)],
    )
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    title = (
        f"train, {len(shown)} of {len(field.groups)} classes"
        if field.kind != "number"
        else f"train, by {name}"
    )
    axes.set_title(title, fontsize="medium", loc="left")
    return figure


def _thumbnails(images_BHWC: Pixels) -> Pixels:
    """Every few pixels of large images."""
    down, across = (-(-side // LARGEST_THUMBNAIL) for side in images_BHWC.shape[1:3])
    return images_BHWC[:, ::down, ::across]


def _evenly(rows: Indices) -> Indices:
    if len(rows) == 0:  # a range of numbers that none is in
        return rows
    return rows[np.linspace(0, len(rows) - 1, min(SAMPLES_PER_CLASS, len(rows))).astype(np.int64)]


def _class_row(images_BHWC: Pixels) -> Pixels:
    """(H + gap, SAMPLES_PER_CLASS * (W + gap), C): images side by side, white if the class has fewer."""
    padding = ((0, SAMPLES_PER_CLASS - len(images_BHWC)), (0, GAP_PIXELS), (0, GAP_PIXELS), (0, 0))
    padded = np.pad(images_BHWC, padding, constant_values=255)
    return np.concatenate(list(padded), axis=1)
