"""The group of each row, as a column says it or the numbers of files tell."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.intake.columns import integers
from pipeline.data.intake.settled.settled import Settled
from pipeline.data.intake.splitting.params import AnySplit, SplitByGroup, SplitByRuns
from pipeline.data.prepared.shards import Indices
from pipeline.errors import DataError

FILE_NUMBER = re.compile(r"\d+")
NO_GROUP = "null"
MOST_DIGITS = 18
"""What an int64 holds."""


class Groups(NamedTuple):
    """numbers: of each row's group. names: of the groups, by number."""

    numbers: Indices
    names: Sequence[str]


def groups_of(rows: pa.Table, target: Settled, rule: AnySplit) -> Groups | None:
    """The groups that a rule keeps together, None if it knows none.

    rows: with columns `file`, and `place` for a rule with a column. target: the first one. Raises DataError
    for files without numbers, or another kind of target than one class a row.
    """
    if isinstance(rule, SplitByGroup):
        found = (
            rows.column("place").cast(pa.string()).fill_null(NO_GROUP).combine_chunks().dictionary_encode()
        )
        return Groups(integers(found.indices.cast(pa.int64())), found.dictionary.to_pylist())
    return _runs(rows.column("file"), target) if isinstance(rule, SplitByRuns) else None


def _runs(files: pa.ChunkedArray, target: Settled) -> Groups:
    """Files in the order of their numbers; a group ends where the class does not rise."""
    if target.values.ndim != 1 or target.values.dtype != np.int64:
        raise DataError("data.split by runs needs one class a row as its first target; name another rule")
    stems = pc.replace_substring_regex(files, r"^.*/|\.[^.]*$", "")
    numbers = [_demand_number(stem) for stem in stems.to_pylist()]
    order, starts = runs_in(numbers, target.values)
    runs = np.empty(len(order), np.int64)
    runs[order] = np.cumsum(starts) - 1
    first = files.take(pa.array(order[starts])).to_pylist()
    return Groups(runs, [f"from {name}" for name in first])


def runs_in(numbers: Sequence[int], classes: Indices) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """Rows in the order of their files' numbers, and which of these begin a run: the class does not rise."""
    order = np.argsort(np.array(numbers, np.int64), kind="stable")
    return order, np.diff(classes[order], prepend=np.iinfo(np.int64).max) <= 0


def number_in(stem: str) -> int | None:
    """The last number in a file's name without its suffix."""
    found = FILE_NUMBER.findall(stem)
    return int(found[-1][-MOST_DIGITS:]) if found else None


def _demand_number(stem: str) -> int:
    number = number_in(stem)
    if number is None:
        raise DataError(f"data.split by runs needs a number in each file's name; {stem!r} has none")
    return number
