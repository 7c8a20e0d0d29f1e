"""Whether files are a table that names images: which table, and which column."""

from pathlib import PurePosixPath
from typing import NamedTuple

from pipeline.data.intake.readers.table import FOUND, READERS
from pipeline.data.intake.source import CLASSES
from pipeline.data.intake.tables.images import NamedImages
from pipeline.data.intake.tables.rows import Needed
from pipeline.data.intake.trees.blob import RefusedBlob, printable_name
from pipeline.data.intake.trees.names import split_of
from pipeline.data.intake.trees.tree import Tree
from pipeline.data.intake.trees.unpacked import without_suffix
from pipeline.data.survey.offer import Offer
from pipeline.errors import DataError

MOST_TABLES = 20
CELLS_TRIED = 50
FEWEST_FOUND = 0.5
"""Fraction of a column's cells that have to name files for it to be the one of images."""
SEPARATORS = ("|", ";")
SPLIT_WORDS = ("split", "set", "subset", "partition", "usage", "fold")


class _Named(NamedTuple):
    """A column that may name images. found: the fraction of its cells that do."""

    table: str
    column: str
    found: float
    cells: dict[str, list[str | None]]


def offer_table(tree: Tree) -> Offer | None:
    """The table that names most images, or several of them, one for each split."""
    names = [name for name in tree.files if _suffix(name) in FOUND and name != CLASSES]
    if not names:
        return None
    tables = [best for name in names[:MOST_TABLES] if (best := _best(tree, name))]
    if not tables:
        return None
    best = max(tables, key=lambda each: (each.found, len(each.cells[each.column])))
    splits = {name: split_of(PurePosixPath(without_suffix(name)).stem) for name in names}
    alike = len(tables) == len(names) and len({tuple(each.cells) for each in tables}) == 1
    is_split = alike and None not in splits.values() and len(set(splits.values())) == len(names)
    alone = len(names) == 1 or is_split
    source = {
        "kind": "table",
        "table": None if alone else best.table,
        "image_column": best.column,
        "root": None,
        "split_column": _split_column(best.cells),
        "list_separator": _separator(best),
    }
    others = [name for name in best.cells if name not in (best.column, source["split_column"])]
    return Offer(source, others, f"{printable_name(best.table)} names images in {best.column!r}")


def _best(tree: Tree, name: str) -> _Named | None:
    try:
        cells = _cells(tree, name)
    except DataError:  # some other table; who names it gets the message
        return None
    tried = [_tried(tree, name, column, cells) for column in cells]
    best = max(tried, key=lambda each: each.found, default=None)
    return best if best and best.found >= FEWEST_FOUND else None


def _cells(tree: Tree, name: str) -> dict[str, list[str | None]]:
    """All columns of a table, as texts."""
    path, shown, read = tree.local(name), printable_name(name), READERS[_suffix(name)]
    columns = list(read(path, shown, Needed([], [], None)).kinds)
    rows = read(path, shown, Needed(columns, columns, None))
    return {
        column: [None if cell is None else str(cell) for cell in cells]
        for column, cells in rows.cells.items()
    }


def _tried(tree: Tree, table: str, column: str, cells: dict[str, list[str | None]]) -> _Named:
    texts = [cell for cell in cells[column] if cell]
    if len(set(texts)) <= FEWEST_FOUND * len(texts):  # names of files are different ones
        return _Named(table, column, 0.0, cells)
    some = texts[:: max(1, len(texts) // CELLS_TRIED)][:CELLS_TRIED]
    named = NamedImages(tree, list(dict.fromkeys([str(PurePosixPath(table).parent), "."])), set())
    found = sum(not isinstance(named.find(text)[1], RefusedBlob) for text in dict.fromkeys(some))
    return _Named(table, column, found / max(1, len(some)), cells)


def _split_column(cells: dict[str, list[str | None]]) -> str | None:
    for column, texts in cells.items():
        found = {text for text in texts if text is not None}
        if column.lower() in SPLIT_WORDS and found and all(split_of(text) for text in found):
            return column
    return None


def _separator(named: _Named) -> str | None:
    """What stands between the parts of lists, in any column but that of the images."""
    for separator in SEPARATORS:
        for column, texts in named.cells.items():
            if column != named.column and any(separator in (text or "") for text in texts):
                return separator
    return None


def _suffix(name: str) -> str:
    return PurePosixPath(without_suffix(name)).suffix.lower()
