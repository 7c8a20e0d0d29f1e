"""What a person should look at before training: rows that are no defects, and still hardly meant."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import pyarrow as pa

from pipeline.data.fields.field import TargetField
from pipeline.data.intake.columns import by_channel, take_rows
from pipeline.data.prepared.shards import Indices
from pipeline.errors import listed

FIRST_SHOWN = 5


def find(
    rows: pa.Table, targets: Mapping[str, TargetField], slices: Mapping[str, list[str]], num_pixels: int
) -> list[str]:
    """A line for each finding, the same for the same rows.

    rows: with columns `file`, `row` and the sums of each image's pixels. slices: the values of each column.
    """
    found = [
        f"classes {names} differ in case, spaces or Unicode form alone"
        for field in targets.values()
        for names in _alike(field.groups)
    ]
    for column, values in slices.items():
        found += [
            f"values {names} of {column!r} differ in case, spaces or Unicode form alone"
            for names in _alike(values)
        ]
    return found + _blank(rows, num_pixels)


def _alike(names: Iterable[str]) -> list[str]:
    """Names that a person would take for one, side by side."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        groups[_folded(name)].append(name)
    return [
        listed([ascii(name) for name in group], FIRST_SHOWN) for group in groups.values() if len(group) > 1
    ]


def _folded(name: str) -> str:
    """A name without what is hardly seen: case, white space, invisible characters, encoding of accents."""
    seen = "".join(letter for letter in name if unicodedata.category(letter) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", seen).casefold()).split())


def _blank(rows: pa.Table, num_pixels: int) -> list[str]:
    """Images in which each channel has one value: then, and only then, its squares sum up to this."""
    sums, squares = by_channel(rows.column("sums")), by_channel(rows.column("squares"))
    found: Indices = np.flatnonzero((squares * num_pixels == sums * sums).all(axis=1))
    if not len(found):
        return []
    first = take_rows(rows.select(["file", "row"]), found[:FIRST_SHOWN]).to_pylist()
    names = [f"{row['file']} row {row['row']}" for row in first]
    left = len(found) - len(first)
    which = ", ".join(names) + (f" and {left} more" if left else "")
    return [f"{len(found)} image{'s' if len(found) > 1 else ''} of one colour, without any content: {which}"]
