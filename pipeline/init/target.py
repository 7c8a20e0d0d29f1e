"""What is to be learnt: which column of a source, and why that one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter

from pipeline.data.fields.field import LABEL
from pipeline.data.intake.opening import given_classes
from pipeline.data.intake.targets.target import AnyTarget
from pipeline.data.survey.offer import preferred
from pipeline.data.survey.survey import Survey
from pipeline.errors import DataError, listed

LABEL_WORDS = (
    "label", "labels", "cls", "class", "classes", "target", "category", "categories", "tag", "tags",
    "species", "breed", "diagnosis", "genre", "kind", "type", "y",
)  # fmt: skip
"""What people call the column that is to be learnt."""
NUMBERING = (
    "id",
    "index",
    "idx",
    "file",
    "filename",
    "file_name",
    "image_id",
    "path",
    "url",
    "row",
    "number",
)
"""What people call columns that tell rows apart."""
MOST_CLASSES = 1000
FEWEST_A_CLASS = 2
"""Rows for each different value of a column, on average, for these to be classes."""
FEWEST_ONE_HOT = 3
"""Columns of 0 and 1 that are taken for one column for each class."""
MOST_GAPPED = 20
"""Different integers, not from 0 without gaps, that are classes with wrong numbers rather than amounts."""
COLUMNS_SHOWN = 6


@dataclass(frozen=True)
class Target:
    """section: of data.targets. values: by row, cells that say nothing left out; of a class its name, of
    classes a list of names, of a number itself. splits, files: of the same rows. missing: rows left out.
    """

    section: dict[str, Any]
    why: str
    values: list[Any]
    splits: list[str]
    files: list[str]
    missing: int

    @property
    def field(self) -> Literal["class", "classes", "number"]:
        found: Literal["class", "classes", "number"] = self.section["field"]
        return found

    @property
    def names(self) -> list[str]:
        """A class for each time that a row is of one; none of numbers."""
        return names_in(self.values) if self.field != "number" else []

    def of(self, split: str) -> list[Any]:
        return [value for value, own in zip(self.values, self.splits, strict=True) if own == split]


def names_in(values: Sequence[str | list[str]]) -> list[str]:
    """Names of classes of rows, each once a row."""
    return [name for value in values for name in ([value] if isinstance(value, str) else set(value))]


def choose_target(found: Survey) -> Target:
    """Raises DataError if no column can be learnt, all rows are of one class, or integers leave gaps."""
    column, why = _column(found)
    if column is None:
        columns = _one_hot(found)
        cells = zip(*(found.rows.cells[name] for name in columns), strict=True)
        values = [[name for name, cell in zip(columns, row, strict=True) if cell] for row in cells]
        return _kept({"field": "classes", "columns": columns}, why, found, values)
    kind, cells_of_it = found.columns[column], found.rows.cells[column]
    if kind == "numbers" or (kind == "integers" and not _are_classes(found, column)):
        return _kept({"field": "number", "column": column}, why, found, cells_of_it)
    section: dict[str, Any] = {"field": "class", "column": column}
    if kind == "lists":
        section = {"field": "classes", "columns": [column]}
    names = _names(found, column, section)
    return _kept(section, why, found, [_named(cell, names) for cell in cells_of_it])


def _kept(section: dict[str, Any], why: str, found: Survey, values: Sequence[Any]) -> Target:
    rows = zip(values, found.rows.splits, found.rows.files, strict=True)
    kept = [row for row in rows if row[0] is not None]
    columns = [list(column) for column in zip(*kept, strict=True)] or [[], [], []]
    target = Target(section, why, columns[0], columns[1], columns[2], len(values) - len(kept))
    if target.field == "class" and len(only := set(target.values)) < 2:
        raise DataError(
            f"{found.opened.name}: all {len(kept)} images are of one class, "
            f"{listed([*map(repr, only)], 1)}; a classifier needs two at least, each in a folder of its own "
            "or named in the label column"
        )
    return target


def _column(found: Survey) -> tuple[str | None, str]:
    """The column of labels, None for one of 0 and 1 for each class, and why. Raises DataError."""
    if found.offer.target:
        return found.offer.target(found.rows)
    fit = [name for name in found.columns if _is_fit(found, name)]
    named = [name for name in preferred(fit, LABEL_WORDS) if _says_label(name)]
    if named:
        return named[0], "by its name"
    if len(_one_hot(found)) >= FEWEST_ONE_HOT:
        return None, "0 and 1 in a column for each class"
    if len(fit) == 1:
        return fit[0], "the only column whose values repeat"
    if fit:
        return fit[0], f"the first of {listed(fit, COLUMNS_SHOWN)}, none of which is called label"
    shown = listed([f"{name} ({kind})" for name, kind in found.columns.items()], COLUMNS_SHOWN)
    raise DataError(
        f"{found.opened.name}: no column says what is to be learnt (found: {shown or 'none'}); add one "
        "called label, with the class of each image"
    )


def _says_label(name: str) -> bool:
    """Whether a column is called as labels are, alone or in a longer name; one letter has to stand alone."""
    low = name.lower()
    return low in LABEL_WORDS or any(word in low for word in LABEL_WORDS if len(word) > 1)


def _is_fit(found: Survey, name: str) -> bool:
    """Whether a column's values repeat, or are numbers, and do not only tell rows apart."""
    cells = [cell for cell in found.rows.cells[name] if cell is not None]
    if name.lower() in NUMBERING or not cells or found.columns[name] == "booleans":
        return False
    if found.columns[name] in ("numbers", "lists"):
        return True
    different = len(set(cells))
    return 1 <= different <= MOST_CLASSES and (different * FEWEST_A_CLASS <= len(cells))


def _one_hot(found: Survey) -> list[str]:
    """Columns that hold 0 and 1 alone, both of them."""
    kinds = ("integers", "booleans")
    return [
        name
        for name, cells in found.rows.cells.items()
        if found.columns[name] in kinds and name.lower() not in NUMBERING and set(cells) == {0, 1}
    ]


def _are_classes(found: Survey, column: str) -> bool:
    """Whether integers number classes: from 0 without gaps, if no names are known. Raises DataError if few
    different ones leave gaps, which may be either.
    """
    if column in found.opened.classes or found.opened.classes_json is not None:
        return True
    different = sorted({cell for cell in found.rows.cells[column] if cell is not None})
    if different == list(range(len(different))):
        return True
    if len(different) <= MOST_GAPPED:
        raise DataError(
            f"{found.opened.name}: column {column!r} holds the integers "
            f"{listed([*map(str, different)], COLUMNS_SHOWN)}; number classes from 0 without gaps, or name "
            "them all in classes.json"
        )
    return False


def _names(found: Survey, column: str, section: dict[str, Any]) -> list[str] | None:
    """Names of classes by number, if the source says them. Raises DataError for a malformed classes.json."""
    target = TypeAdapter[Any](AnyTarget).validate_python(section)
    return given_classes(found.opened, {LABEL: target}).get(column, found.opened.classes.get(column))


def _named(cell: Any, names: list[str] | None) -> Any:
    if isinstance(cell, list):
        return [_named(each, names) for each in cell]
    if cell is None or cell == "":
        return None
    return names[cell] if names and isinstance(cell, int) and 0 <= cell < len(names) else str(cell)
