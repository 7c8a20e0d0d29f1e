"""How rows are cut into splits: alone, or in groups that a column or the numbers of files tell."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np

from pipeline.data.intake.splitting.keys import number_in, runs_in
from pipeline.data.survey.survey import Survey
from pipeline.init.target import Target

GROUP_WORDS = {
    "animal", "case", "family", "group", "individual", "participant", "patient", "person", "plant", "scene",
    "sequence", "series", "session", "site", "subject", "user", "video",
}  # fmt: skip
"""What people call a column by which several images belong together."""
FEWEST_GROUPS = 10
FEWEST_IN_RUNS = 3
"""Classes from which on a rise through them, again and again, is no chance."""
RUN_SHARE = 0.6
"""Length of runs, on average, as a share of the classes: in random order it is below 2 images."""
DISTINCT_NUMBERS = 0.9
"""Fraction of files with a number of their own: those that are numbered anew in each class are no runs."""


class SplitChoice(NamedTuple):
    """section: data.split. why: groups are kept together, "" if there are none."""

    section: dict[str, Any]
    why: str


def choose_split(found: Survey, target: Target, fractions: Mapping[str, float]) -> SplitChoice:
    """fractions: of val and test, 0 for those that the source has."""
    shares = {f"{name}_fraction": fraction for name, fraction in fractions.items()}
    rest = shares | {"seed": 0, "fold": None}
    if column := _group_column(found, target):
        why = f"rows of one {column} stay together"
        return SplitChoice({"by": "group", "column": column} | rest, why)
    if (runs := _runs(found, target)) is not None:
        why = f"numbers of files rise through the classes in {runs:,} runs, which stay together"
        return SplitChoice({"by": "runs"} | rest, why)
    return SplitChoice({"by": "rows"} | rest, "")


def _group_column(found: Survey, target: Target) -> str | None:
    """A column that is called as groups are, has several rows for each, and is not torn by own splits."""
    learnt = {target.section.get("column"), *target.section.get("columns", ())}
    for name, cells in found.rows.cells.items():
        word = name.lower().removesuffix("_id").removesuffix("id").rstrip("_")
        if word not in GROUP_WORDS or name in learnt or found.columns[name] not in ("names", "integers"):
            continue
        pairs = set(zip(found.rows.splits, cells, strict=True))
        if FEWEST_GROUPS <= len(set(cells)) == len(pairs) < len(cells):
            return name
    return None


def _runs(found: Survey, target: Target) -> int | None:
    """How many times numbered files rise through the classes; None if they do not."""
    if target.field != "class" or len(found.opened.splits) > 1 or not all(target.files):
        return None
    numbers = [number_in(PurePosixPath(file).stem) for file in target.files]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers) or len(set(known)) < DISTINCT_NUMBERS * len(known):
        return None
    names, classes = np.unique(np.array(target.values), return_inverse=True)
    starts = int(runs_in(known, classes)[1].sum())
    is_rising = len(names) >= FEWEST_IN_RUNS and len(known) / starts >= max(2, RUN_SHARE * len(names))
    return starts if is_rising and starts >= FEWEST_GROUPS else None
