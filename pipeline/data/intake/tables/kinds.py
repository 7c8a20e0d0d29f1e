"""What a column holds, found out from its cells."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

INTEGER = re.compile(r"[+-]?(0|[1-9]\d{0,18})", re.ASCII)
"""An integer without leading zeros, which make a code of a number."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?inf", re.ASCII)
TRUTHS = {"true": True, "false": False}
NO_VALUE = {"", "na", "n/a", "nan", "null", "none"}
"""Cells without a value in a column of numbers; in one of names only the empty cell is."""
MOST_MIXED = "values of several types"


def kind_of(cells: Iterable[Any]) -> str:
    """What targets call the cells of JSON, None left out."""
    types = {_type_of(cell) for cell in cells if cell is not None}
    if types <= {"integers"}:
        return "integers" if types else "names"
    if types <= {"integers", "numbers"}:
        return "numbers"
    return types.pop() if len(types) == 1 else MOST_MIXED


def typed(texts: Sequence[str | None], separator: str | None, decimal_comma: bool) -> tuple[str, list[Any]]:
    """The kind of a column of texts, and its cells as such. separator: between the parts of a list."""
    cells = list(texts)
    found = [cell for cell in cells if cell is not None]
    if separator and any(separator in cell for cell in found):
        return "lists", [None if cell is None else _parts(cell, separator) for cell in cells]
    if found and all(cell.startswith("[") and cell.endswith("]") for cell in found):
        lists = [None if cell is None else _json_list(cell) for cell in cells]
        if None not in [each for each, cell in zip(lists, cells, strict=True) if cell is not None]:
            return kind_of(lists), lists
    if found and all(cell.lower() in TRUTHS for cell in found):
        return "booleans", [None if cell is None else TRUTHS[cell.lower()] for cell in cells]
    return _numeric(cells, decimal_comma) or ("names", cells)


def _numeric(cells: Sequence[str | None], decimal_comma: bool) -> tuple[str, list[Any]] | None:
    plain = [None if cell is None or cell.lower() in NO_VALUE else cell for cell in cells]
    found = [cell for cell in plain if cell is not None]
    if not found:
        return None
    if all(INTEGER.fullmatch(cell) for cell in found):
        return "integers", [None if cell is None else int(cell) for cell in plain]
    if decimal_comma:
        plain = [None if cell is None else cell.replace(",", ".") for cell in plain]
        found = [cell for cell in plain if cell is not None]
    if all(NUMBER.fullmatch(cell) and not _is_code(cell) for cell in found):
        return "numbers", [None if cell is None else float(cell) for cell in plain]
    return None


def _is_code(cell: str) -> bool:
    """Whether leading zeros make something else of a number."""
    return cell.isdigit() and cell.startswith("0") and len(cell) > 1


def _parts(cell: str, separator: str) -> list[str]:
    return [part.strip() for part in cell.split(separator) if part.strip()]


def _json_list(cell: str) -> list[Any] | None:
    for text in (cell, cell.replace("'", '"')):  # the second as Python prints lists of names
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        return found if isinstance(found, list) else None
    return None


def _type_of(cell: Any) -> str:
    if isinstance(cell, bool):
        return "booleans"
    if isinstance(cell, int):
        return "integers"
    if isinstance(cell, float):
        return "numbers"
    if isinstance(cell, str):
        return "names"
    if isinstance(cell, list) and len({type(each) for each in cell}) <= 1:
        return "lists" if all(type(each) in (int, str) for each in cell) else "lists of other values"
    return "lists of several types" if isinstance(cell, list) else "objects"
