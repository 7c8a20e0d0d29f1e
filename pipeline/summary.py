"""The end of the line: one table of all variants, the registered versions, and where to look next."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from pipeline.compare.records import STEPS, VARIANTS, Change, Latency, speed_text
from pipeline.errors import EspalierError, UnreachableError
from pipeline.export.session import device_name
from pipeline.prune.profile_report import read_profile
from pipeline.registry.figures import Figures, read_figures
from pipeline.registry.register import RegisteredVersion, registered_versions
from pipeline.registry.restore import last_move, restore

LOST = ("lost by", "score (95 %)", "worst group (95 %)", "agreement", "lost/gained")
LONGEST_NAME = 12
NEXT = """Next: `make ui` shows runs and versions, reports/ holds pictures and tables,
`dvc exp run -S prune.target.macs=0.3` tries another shape, which becomes @candidate at most"""


def summary(root: Path, *, judge: bool = False) -> str:
    """The table of every variant, what was lost, what the registry holds, after what it lacked was put back.

    judge: also who is champion, as a repro does. Raises ArtifactError before the pipeline has run.
    """
    figures = {name: read_figures(name, lambda path: root / path) for name in VARIANTS}
    chosen = _chosen(root / "reports" / "profile.json", figures["pruned"].latency)
    return "\n".join(
        [
            table(figures),
            *chosen,
            *_notes(root / "reports"),
            "",
            lost_table(figures),
            "",
            _registered(root, judge=judge),
            NEXT,
        ]
    )


def table(figures: dict[str, Figures]) -> str:
    """Variants as rows; times on the device that the last line names."""
    latency = figures["dense"].latency
    timed = [column for size in latency.batches for column in (f"batch {size}", "speed")]
    rows = [
        ["variant", "score", "MACs", "params", "size", *timed],
        *(_row(name, figures[name]) for name in VARIANTS),
    ]
    note = (
        f"batch: median time of one on {latency.measured_on}{_elsewhere(latency.device)};\n"
        "speed: dense's time / the variant's, all variants timed in turns in one process"
    )
    return f"{_aligned(rows)}\n{note}"


def lost_table(figures: dict[str, Figures]) -> str:
    """Each step of compression as a row, against the variant before it, and the whole way against dense."""
    sizes = figures["dense"].latency.batches
    *_, last = STEPS
    steps = [(name, name, parent) for name, parent in STEPS.items()] + [("all steps", last, "dense")]
    rows = [[*LOST, *(f"speed at {size}" for size in sizes)]]
    rows += [[title, *_lost_cells(figures[name], other)] for title, name, other in steps]
    note = (
        "each step against the one before it, in points with 95 % intervals; lost/gained: images whose score "
        "fell, and rose;\npictures of them, every group and slice: reports/<variant>/lost"
    )
    return "\n".join([_aligned(rows), note, *_slower(figures)])


def _slower(figures: Mapping[str, Figures]) -> Iterator[str]:
    """A line for each variant that is beyond doubt slower than the one it was made from, or than dense."""
    for name, own in figures.items():
        for size, timing in own.latency.batches.items():
            for other, speedup in timing.speedup.items():
                if speedup.at_most < 1:
                    yield f"{name} is slower than {other} at batch {size}: {speedup} of its speed"


def versions_text(model_name: str, versions: list[RegisteredVersion]) -> str:
    """The versions that an alias names, and how many others there are."""
    lines = [
        f"  version {each.version}  {_said_of(each)}  @{', @'.join(each.aliases)}"
        for each in versions
        if each.aliases
    ]
    return "\n".join([f"Registered as models:/{model_name} ({len(versions)} versions):", *lines])


def _said_of(version: RegisteredVersion) -> str:
    if version.variant is None:
        return "made by another tool"
    return f"{version.variant:<10} score {version.score:.4f}"


def _chosen(profile: Path, pruned: Latency) -> list[str]:
    """A line, if pruning was to a target of latency, with what the stage `profile` measured, and where.

    What came out stands beside it only if it was measured in the same way.
    """
    chosen = read_profile(profile).chosen if profile.exists() else None
    if chosen is None:
        return []
    said = f"pruned to a latency at batch {chosen.batch}: {chosen.latency:.2f} of dense's when chosen"
    if chosen.measured_on != pruned.measured_on:
        return [
            f"{said}, on {chosen.measured_on};",
            "the times above were measured otherwise, so they do not show whether that holds",
        ]
    timing = pruned.batches.get(chosen.batch)
    if timing is None:
        return [f"{said}, not compared at this batch; on {chosen.measured_on}"]
    speedup = timing.speedup["dense"].ratio
    slower = " (slower)" if speedup < 1 else ""
    return [f"{said}, {1 / speedup:.2f} when compared{slower}; both on {chosen.measured_on}"]


def _notes(reports: Path) -> Iterator[str]:
    """What the stages that compress say of themselves that a reader of the table must not miss."""
    for stage, variant in (("prune", "pruned"), ("quantize", "quantized")):
        path = reports / f"{stage}.json"
        values = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if "note" in values:
            yield f"{variant}: {values['note']}"


def _elsewhere(device: str) -> str:
    """A note if other times are to be expected here: reports come from DVC's cache, so from anywhere."""
    here = device_name()
    return "" if device == here else f" (not this machine, which has {here})"


def _aligned(rows: list[list[str]]) -> str:
    """A first row of headings, a line, the others; all columns but the first to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _row(name: str, figures: Figures) -> list[str]:
    quality = figures.quality
    timed = [
        (f"{each.median_ms:.3f} ms", speed_text(each.speedup["dense"].ratio))
        for each in figures.latency.batches.values()
    ]
    return [
        name,
        f"{quality.score:.4f}",
        _short(quality.macs),
        _short(quality.params),
        f"{quality.size_bytes / 1e3:,.1f} kB",
        *(cell for pair in timed for cell in pair),
    ]


def _lost_cells(figures: Figures, other: str) -> list[str]:
    assert figures.loss is not None, "a step made it"
    found = figures.loss.against[other]
    worst = found.worst_group
    return [
        _points(found.score),
        f"{' '.join(worst.name.split())[:LONGEST_NAME]} {_points(worst)}" if worst else "none",
        f"{100 * found.agreement:.1f} %",
        f"{found.lost}/{found.gained}",
        *(speed_text(each.speedup[other].ratio) for each in figures.latency.batches.values()),
    ]


def _points(change: Change) -> str:
    return f"{100 * change.change:+.1f} ({100 * change.low:+.1f} to {100 * change.high:+.1f})"


def _short(number: int) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.2f} {name}"
    return str(number)


def _registered(root: Path, *, judge: bool) -> str:
    verdict = root / "reports" / "verdict.json"
    if not verdict.exists():
        return "Nothing is registered: the stage `register` has not passed."
    name = json.loads(verdict.read_text(encoding="utf-8"))["model_name"]
    try:
        restored = _restored(root, judge=judge)
        return "\n".join(
            [*restored, versions_text(name, registered_versions(root, name)), *last_move(root, name)]
        )
    except EspalierError as error:
        return f"The registered versions of {name} are not known now: {error}"


def _restored(root: Path, *, judge: bool) -> list[str]:
    try:
        return restore(root, judge=judge)
    except UnreachableError:
        raise
    except EspalierError as error:
        return [f"Not registered again: {error}"]
