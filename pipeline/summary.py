"""The end of the line: one table of all variants, the registered versions, and where to look next."""

import json
from pathlib import Path

from pipeline.errors import EspalierError
from pipeline.registry.figures import VARIANTS, Figures, read_figures
from pipeline.registry.register import RegisteredVersion, registered_versions

COLUMNS = ("variant", "top-1", "MACs", "params", "size", "latency", "images/s", "speed at 1", "at 64")
NEXT = """Next: `make ui` shows runs and versions, reports/ holds pictures and tables,
`dvc exp run -S prune.target=0.3` tries another shape"""


def summary(root: Path) -> str:
    """The table of every variant, then what the registry holds. Raises ArtifactError before the pipeline has run."""
    reports = root / "reports"
    figures = {name: read_figures(reports / name / "metrics.json", reports / name / "latency.json") for name in VARIANTS}
    return "\n".join([table(figures), "", _registered(root), NEXT])


def table(figures: dict[str, Figures]) -> str:
    """Variants as rows; latency and throughput on the device that the last line names."""
    rows = [COLUMNS, *(_row(name, figures) for name in VARIANTS)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    latency = figures["dense"].latency
    note = (
        f"latency: median at batch 1, images/s: at batch 64, on {latency.measured_on};\n"
        "speed: dense's time / the variant's at batch 1 and 64, both timed in turns in one process"
    )
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], note])


def versions_text(model_name: str, versions: list[RegisteredVersion]) -> str:
    """The versions that an alias names, and how many others there are."""
    lines = [
        f"  version {each.version}  {each.variant:<10} top-1 {float(each.top1):.4f}  @{', @'.join(each.aliases)}"
        for each in versions
        if each.aliases
    ]
    return "\n".join([f"Registered as models:/{model_name} ({len(versions)} versions):", *lines])


def _row(name: str, figures: dict[str, Figures]) -> tuple[str, ...]:
    quality, latency = figures[name].quality, figures[name].latency
    return (
        name,
        f"{quality.top1:.4f}",
        _short(quality.macs),
        _short(quality.params),
        f"{quality.size_bytes / 1e3:,.1f} kB",
        f"{latency.batch1_median_ms:.3f} ms",
        f"{latency.batch64_images_per_s:,.0f}",
        _speed(latency.speedup),
        _speed(latency.speedup64),
    )


def _speed(ratio: float) -> str:
    return f"{ratio:.2f}x" if ratio >= 1 else f"{ratio:.2f}x (slower)"


def _short(number: int) -> str:
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= unit:
            return f"{number / unit:.2f} {name}"
    return str(number)


def _registered(root: Path) -> str:
    verdict = root / "reports" / "verdict.json"
    if not verdict.exists():
        return "Nothing is registered: the stage `register` has not passed."
    name = json.loads(verdict.read_text(encoding="utf-8"))["model_name"]
    try:
        return versions_text(name, registered_versions(root, name))
    except EspalierError as error:
        return f"The registered versions of {name} are not known now: {error}"
