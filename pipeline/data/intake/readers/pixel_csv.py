"""CSV of pixels, as MNIST, FER2013 and many competitions are given out."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.data.intake.readers.listed import ListedRow, listed_source
from pipeline.data.intake.readers.table import own_split, tables_in
from pipeline.data.intake.source import Source
from pipeline.data.intake.sources.pixel_csv import PixelCsvSource
from pipeline.data.intake.tables.csv_rows import csv_lines, find_dialect
from pipeline.data.intake.tables.images import BytesBlob
from pipeline.data.intake.tables.kinds import NUMBER, typed
from pipeline.data.intake.tables.rows import UNREAD, demand_once
from pipeline.data.intake.trees.blob import Blob, RefusedBlob
from pipeline.data.intake.trees.tree import open_tree
from pipeline.errors import DataError
from pipeline.images.defect import Defect

PIXEL_COLUMN = re.compile(r"(pixel|px|p)?[ _]?\d+([x_]\d+)?", re.IGNORECASE)
"""Names of columns of one pixel: pixel0, 1x1, 0."""
ALL_PIXELS = "pixels"
"""Name of a column that holds all of an image's pixels, with spaces between."""
FIRST_COLUMN = "label"
"""Name of the first column of a table without a header."""
OUT_OF_RANGE = "pixel out of range"


def open_pixel_csv(params: PixelCsvSource, path: Path, columns: Sequence[str], scratch: Path) -> Source:
    """A row for each line.

    Raises DataError: nothing at the path, no table, no columns of pixels, a shape that they do not fill.
    """
    tree = open_tree(path, scratch)
    rows: list[ListedRow] = []
    kinds: dict[str, str] = {}
    raw = params.raw_shape
    shape = (raw[0], raw[1], raw[2]) if raw else None
    texts = [*columns, *filter(None, [params.split_column])]
    for name, split in tables_in(tree, params.table).items():
        read = PixelTable(tree.local(name), tree.shown(name), texts)
        shape = shape or read.square()
        found = {column: typed(read.texts[column], None, decimal_comma=False) for column in columns}
        kinds |= dict.fromkeys(read.names, UNREAD) | {column: kind for column, (kind, _) in found.items()}
        cells = zip(*(each for _, each in found.values()), strict=True)
        for row, (pixels, own) in enumerate(zip(read.pixels, cells, strict=True)):
            image, part = _image(pixels, math.prod(shape)), split
            if params.split_column is not None:
                part, refused = own_split(params.split_column, read.texts[params.split_column][row])
                image = refused or image
            rows.append(ListedRow(name, row, part, image, own))
    return listed_source(tree, rows, kinds, columns, tree.left_out, shape)


class PixelTable:
    """A table that was read. names: of its columns. pixels: bytes of each row, or why there are none. texts:
    the cells of the other columns that are wanted.
    """

    def __init__(self, path: Path, name: str, wanted: Sequence[str]) -> None:
        lines = csv_lines(path, name, find_dialect(path, wanted))
        _, first = next(lines, (0, []))
        is_row = bool(first) and all(NUMBER.fullmatch(field) for field in first)
        numbers = [str(place) for place in range(len(first) - 1)]
        self.name = name
        self.names = [FIRST_COLUMN, *numbers] if is_row else first
        demand_once(name, self.names, wanted)
        self._places = _pixel_places(self.names, wanted)
        if not self._places:
            raise DataError(
                f"{name}: no columns of pixels (pixel0, pixel1, ... or all in one called {ALL_PIXELS!r})"
            )
        self.pixels: list[bytes | Defect] = []
        self.texts: dict[str, list[str | None]] = {column: [] for column in wanted}
        if is_row:
            self._add(1, first)
        for number, fields in lines:
            if any(fields):
                self._add(number, fields)

    def square(self) -> tuple[int, int, int]:
        """The shape, if images are square and grey. Raises DataError if they cannot be."""
        count = next((len(found) for found in self.pixels if isinstance(found, bytes)), len(self._places))
        side = math.isqrt(count)
        if side * side != count:
            raise DataError(f"{self.name}: {count} pixels are no square; say their data.source.raw_shape")
        return side, side, 1

    def _add(self, number: int, fields: list[str]) -> None:
        if len(fields) != len(self.names):
            detail = f"line {number} has {len(fields)} fields, but the header {len(self.names)}"
            self.pixels.append(Defect("malformed row", detail))
            fields = [""] * len(self.names)
        else:
            found = [fields[place] for place in self._places]
            self.pixels.append(_pixels(found[0].split() if len(found) == 1 else found, number))
        for column, texts in self.texts.items():
            texts.append(fields[self.names.index(column)] or None)


def _pixel_places(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    if ALL_PIXELS in names:
        return [names.index(ALL_PIXELS)]
    return [place for place, name in enumerate(names) if PIXEL_COLUMN.fullmatch(name) and name not in wanted]


def _pixels(words: Sequence[str], number: int) -> bytes | Defect:
    try:
        return bytes(int(word) if word.isdigit() else _whole(float(word)) for word in words)
    except (ValueError, OverflowError):
        return Defect(OUT_OF_RANGE, f"line {number}: pixels must be whole numbers of 0 to 255")


def _whole(value: float) -> int:
    """Raises ValueError for a part of a number."""
    if not value.is_integer():
        raise ValueError(value)
    return int(value)


def _image(pixels: bytes | Defect, size: int) -> Blob:
    if isinstance(pixels, Defect):
        return RefusedBlob(pixels.reason, pixels.detail)
    if len(pixels) != size:
        return RefusedBlob("wrong raw length", f"{len(pixels)} pixels, but {size} are an image")
    return BytesBlob(pixels)
