"""JSON: an object a line, or a list of objects."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.data.intake.tables.kinds import kind_of
from pipeline.data.intake.tables.rows import UNREAD, Needed, TableRows, demand_once
from pipeline.errors import DataError
from pipeline.images.defect import Defect

MOST_JSON_BYTES = 1 << 30
"""Bytes of a file that is one list."""
MOST_LINE_BYTES = 1 << 26


def read_json_lines(path: Path, name: str, needed: Needed) -> TableRows:
    """The needed columns; a line that is no JSON object is a bad row.

    Raises DataError for a column that no row has, or a list that is no JSON.
    """
    with path.open("rb") as file:
        is_list = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    columns: dict[str, list[Any]] = {column: [] for column in needed.columns}
    bad: dict[int, Defect] = {}
    names: dict[str, None] = {}
    for row, each in enumerate(_listed(path, name) if is_list else _by_line(path)):
        found = {} if isinstance(each, Defect) else each
        if isinstance(each, Defect):
            bad[row] = each
        names |= dict.fromkeys(found)
        for column, cells in columns.items():
            cells.append(found.get(column))
    demand_once(name, list(names), needed.columns)
    kinds = dict.fromkeys(names, UNREAD) | {column: kind_of(cells) for column, cells in columns.items()}
    return TableRows(columns, kinds, bad, {})


def parsed_json(path: Path, name: str) -> Any:
    """All of a JSON file. Raises DataError if it is none, too deep or too large."""
    size = path.stat().st_size
    if size > MOST_JSON_BYTES:
        raise DataError(f"{name}: {size} bytes of JSON, more than {MOST_JSON_BYTES}; cut it into parts")
    try:
        return json.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: not valid JSON ({error}); mend it") from error


def _listed(path: Path, name: str) -> Iterator[dict[str, Any] | Defect]:
    found = parsed_json(path, name)
    for each in found:
        yield each if isinstance(each, dict) else Defect("malformed row", "no JSON object")


def _by_line(path: Path) -> Iterator[dict[str, Any] | Defect]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MOST_LINE_BYTES):
            number += 1
            if line.strip():
                yield _row(line.removeprefix(b"\xef\xbb\xbf"), number)


def _row(line: bytes, number: int) -> dict[str, Any] | Defect:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Defect("malformed row", f"line {number}: not valid JSON ({error})")
    return found if isinstance(found, dict) else Defect("malformed row", f"line {number}: no JSON object")
