"""Whether files hold raw pixels: MNIST's, or a CSV of them."""

import math
from pathlib import PurePosixPath

from pipeline.data.intake.readers.idx import IMAGES_WORD, UNSIGNED_BYTES
from pipeline.data.intake.readers.pixel_csv import ALL_PIXELS, FIRST_COLUMN, PIXEL_COLUMN
from pipeline.data.intake.sources.idx import IdxSource
from pipeline.data.intake.tables.csv_rows import csv_lines, find_dialect
from pipeline.data.intake.tables.kinds import NUMBER
from pipeline.data.intake.trees.names import split_of
from pipeline.data.intake.trees.tree import Tree
from pipeline.data.intake.trees.unpacked import without_suffix
from pipeline.data.survey.offer import Offer
from pipeline.errors import DataError

FEWEST_PIXELS = 16
PIXEL_TABLES_TRIED = 10


def offer_idx(tree: Tree) -> Offer | None:
    for name in tree.files:
        if IMAGES_WORD in PurePosixPath(name).name.lower():
            with tree.local(name).open("rb") as file:
                if file.read(len(UNSIGNED_BYTES)) == UNSIGNED_BYTES:
                    return Offer(
                        {"kind": "idx"}, list(IdxSource.fixed), "raw pixels in IDX files, as MNIST's"
                    )
    return None


def offer_pixel_csv(tree: Tree) -> Offer | None:
    """The table with most columns beside its pixels, or all if they have the same."""
    tables = [name for name in tree.files if _suffix(name) in (".csv", ".tsv")][:PIXEL_TABLES_TRIED]
    found = {name: header for name in tables if (header := _pixel_header(tree, name))}
    if not found:
        return None
    best = max(found, key=lambda name: len(found[name][1]))
    splits = {split_of(PurePosixPath(without_suffix(name)).stem) for name in found}
    is_whole = len(tables) == 1 or (
        len(found) == len(tables) == len(splits - {None})
        and len({tuple(each[1]) for each in found.values()}) == 1
    )
    count, others = found[best]
    side = math.isqrt(count // 3)
    is_square = math.isqrt(count) ** 2 == count
    source = {
        "kind": "pixel_csv",
        "table": None if is_whole else best,
        "raw_shape": None if is_square else [side, side, 3],
        "split_column": None,
    }
    return (
        Offer(source, others, f"raw pixels in the cells of {best}")
        if is_square or 3 * side * side == count
        else None
    )


def _pixel_header(tree: Tree, name: str) -> tuple[int, list[str]] | None:
    """How many pixels a row of a table has, and its other columns; None if it has none."""
    path, shown = tree.local(name), tree.shown(name)
    try:
        lines = csv_lines(path, shown, find_dialect(path, []))
        header = next(lines, (0, []))[1]
        if len(header) > FEWEST_PIXELS and all(NUMBER.fullmatch(field) for field in header):
            return len(header) - 1, [FIRST_COLUMN]
        if ALL_PIXELS in header:
            first = next(lines, (0, []))[1]
            cell = first[header.index(ALL_PIXELS)] if len(first) == len(header) else ""
            return len(cell.split()), [column for column in header if column and column != ALL_PIXELS]
    except DataError:  # some other table
        return None
    others = [column for column in header if column and not PIXEL_COLUMN.fullmatch(column)]
    return (len(header) - len(others), others) if len(header) - len(others) >= FEWEST_PIXELS else None


def _suffix(name: str) -> str:
    return PurePosixPath(without_suffix(name)).suffix.lower()
