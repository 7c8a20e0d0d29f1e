"""What a benchmark measured, and its rows in docs/results/: one table for each benchmark, a row for each case
of a run, newest last.
"""

import argparse
import os
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from pipeline.base.files import write_atomic
from pipeline.errors import EspalierError
from pipeline.export.session import device_name
from pipeline.git import git

RESULTS = Path("docs/results")
HEADING = "## Runs"
"""Heading of the section of a page whose table takes the rows."""
RUN_COLUMNS = ("date", "commit", "machine", "versions", "n")
"""Columns that tell one run from another; those of the benchmark follow."""


@dataclass(frozen=True)
class Figure:
    """One quantity, measured once or in several rounds."""

    values: Sequence[float]
    digits: int = 3

    def __str__(self) -> str:
        """The median and, of several values, the smallest and the largest."""
        middle, low, high = (
            f"{value:,.{self.digits}f}"
            for value in (statistics.median(self.values), min(self.values), max(self.values))
        )
        return middle if len(self.values) == 1 else f"{middle} ({low}-{high})"


Case = Mapping[str, str | int | Figure]
"""One row of a benchmark's table by column: which case was measured, and its figures."""


@dataclass(frozen=True)
class Benchmark:
    """One kind of measurement; what its columns mean is said in docs/results/."""

    measure: Callable[[argparse.Namespace], Iterator[Case]]
    columns: Sequence[str]
    """Keys of each case, in the order of the table."""
    packages: Sequence[str]
    """Packages whose versions decide the figures."""
    needs_root: bool = False


@dataclass(frozen=True)
class Run:
    """When, from what and on what a benchmark was run."""

    date: str
    commit: str
    machine: str
    versions: str

    @classmethod
    def now(cls, packages: Sequence[str], root: Path) -> "Run":
        """The run that begins now from the git repository `root`."""
        return cls(
            date=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
            commit=_commit(root),
            machine=f"{device_name()}, {os.cpu_count()} CPUs",
            versions=", ".join(f"{package} {version(package)}" for package in packages),
        )


def told(case: Case) -> str:
    """The case in one line."""
    return ", ".join(f"{column} {value}" for column, value in case.items())


def table_end(page: Path, columns: Sequence[str]) -> int:
    """The number of the line that follows the table of runs.

    Raises EspalierError if the page has no such table with the columns of the benchmark.
    """
    header = _row([*RUN_COLUMNS, *columns])
    lines = page.read_text(encoding="utf-8").splitlines() if page.exists() else []
    if HEADING not in lines or header not in lines[lines.index(HEADING) :]:
        raise EspalierError(f"{page} has no table `{header}` below `{HEADING}`; add it, and run this again")
    end = lines.index(header, lines.index(HEADING))
    while end < len(lines) and lines[end].startswith("|"):
        end += 1
    return end


def append_cases(page: Path, columns: Sequence[str], run: Run, cases: Sequence[Case]) -> None:
    """Add a row for each case to the table of a page, which is left as it was if that fails."""
    end = table_end(page, columns)
    lines = page.read_text(encoding="utf-8").splitlines()
    told_once = [run.date, run.commit, run.machine, run.versions]
    rows = [_row([*told_once, _n(case), *(case[column] for column in columns)]) for case in cases]
    write_atomic(page, "\n".join([*lines[:end], *rows, *lines[end:]]) + "\n")


def _n(case: Case) -> int:
    """Number of values of the figure that was measured most often."""
    return max(len(value.values) for value in case.values() if isinstance(value, Figure))


def _row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _commit(root: Path) -> str:
    """The short commit, and whether anything but recorded results differs from it."""
    changed = git(root, "status", "--porcelain", "--", ".", f":!{RESULTS}")
    return git(root, "rev-parse", "--short", "HEAD").strip() + (" dirty" if changed else "")
