"""What a person should look at before training: rows that are no defects, and still hardly meant."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pipeline.data.fields.field import TargetField
from pipeline.data.intake.ingest import Row
from pipeline.errors import listed

FIRST_SHOWN = 5


def find(
    rows: Sequence[Row], targets: Mapping[str, TargetField], slices: list[tuple[str, list[str]]]
) -> list[str]:
    """A line for each finding, the same for the same rows."""
    found = [
        f"classes {names} differ in case, spaces or Unicode form alone"
        for field in targets.values()
        for names in _alike(field.groups)
    ]
    for column, values in slices:
        found += [
            f"values {names} of {column!r} differ in case, spaces or Unicode form alone"
            for names in _alike(values)
        ]
    return found + _blank([row for row in rows if row.blank])


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


def _blank(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    which = listed([f"{row.file} row {row.row}" for row in rows], FIRST_SHOWN)
    return [f"{len(rows)} image{'s' if len(rows) > 1 else ''} of one colour, without any content: {which}"]
