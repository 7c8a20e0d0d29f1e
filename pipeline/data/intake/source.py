"""What every source of images gives: pieces of rows, unchecked, in a fixed order."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from pipeline.data.intake.targets.target import AnyTarget
from pipeline.images.defect import Defect

SPLITS = ("train", "val", "test")
PIECE_ROWS = 512
"""Rows of a piece, about: enough to be worth a process, and few enough to keep several processes busy."""
BATCH_ROWS = 256
"""Rows handed on at once, at most."""
BATCH_BYTES = 32 << 20
"""Size of images handed on at once, about: each process that decodes has a batch."""
SURROGATE = re.compile("[\ud800-\udfff]")
CLASSES = "classes.json"
"""Names of classes, beside what any source holds."""
CONTENT_BYTES = 32
"""Bytes of the digest of a row."""


@dataclass(frozen=True)
class SourceBatch:
    """Consecutive rows; all lists are equally long.

    files: where each row stands, below the source's path, printable. rows: its number there, from 0. splits:
    "train", "val" or "test" as the source has it; rows of a source without own splits say "train". images:
    the bytes, or why there are none. cells: by column, what targets and slices are read from; texts that are
    no UTF-8 hold lone surrogates.
    """

    files: list[str]
    rows: list[int]
    splits: list[str]
    images: list[bytes | Defect]
    cells: Mapping[str, list[Any]]

    def cells_by_row(self) -> Iterator[dict[str, Any]]:
        columns = self.cells
        return (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))

    def texts(self, columns: Sequence[str]) -> dict[str, list[str]]:
        """Values of these columns, printable."""
        return {column: [printable(cell) for cell in self.cells[column]] for column in columns}

    def digests(self, classes: Mapping[str, list[str]]) -> list[bytes]:
        """SHA-256 of each row: its split, cells and image, whatever file it stands in.

        classes: names by column, so that a class has the same digest by name and by number.
        """
        columns = (_named(self.cells[column], classes.get(column)) for column in sorted(self.cells))
        rows = zip(self.splits, self.images, zip(*columns, strict=True), strict=True)
        return [_row_digest(*row) for row in rows]


class Piece(Protocol):
    """Some of a source's rows, read by any process alone: it holds paths and numbers, no open file.

    Raises DataError, while it is read, if a file that holds many rows is damaged.
    """

    @property
    def rows(self) -> int: ...

    def read(self) -> Iterator[SourceBatch]:
        """Its rows in order, in batches of at most BATCH_ROWS."""
        ...


@dataclass(frozen=True)
class Source:
    """An opened source.

    name: the last part of its path, for the manifest. splits: the source's own, at least "train". columns:
    what each column holds, a kind that targets know or Arrow's word for the type. classes: by column, names
    by number, if not the labels found decide. classes_json: content of that file beside the rows, which says
    them for targets. raw_shape: (H, W, C), None for encoded images. pieces: in
    the order of the rows. left_out: files that are no rows, counted by reason.
    """

    name: str
    splits: Sequence[str]
    columns: Mapping[str, str]
    classes: Mapping[str, list[str]]
    classes_json: bytes | None
    raw_shape: tuple[int, int, int] | None
    pieces: Sequence[Piece]
    left_out: Mapping[str, int]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(piece.rows for piece in self.pieces)

    def classes_of(self, targets: Mapping[str, AnyTarget]) -> dict[str, list[str]]:
        """The known classes by target."""
        first = {name: target.names[0] for name, target in targets.items()}
        return {name: self.classes[column] for name, column in first.items() if column in self.classes}


def content_digest(source: Source, rows: Iterable[bytes]) -> str:
    """Hex SHA-256 of what was read; the same rows in another kind of file have the same.

    rows: SourceBatch.digests() of all pieces, in order.
    """
    digest = hashlib.sha256(b"".join(rows))
    digest.update(json.dumps(source.raw_shape).encode())
    return digest.hexdigest()


def printable(cell: Any) -> str:
    """A cell as text; bytes that are no UTF-8 become the replacement character."""
    return "null" if cell is None else SURROGATE.sub("\ufffd", str(cell))


def ranges(rows: int, size: int = PIECE_ROWS, most: int | None = None) -> Iterator[range]:
    """`rows` cut into ranges of about equal length, as many as of `size` rows, at most `most`."""
    count = max(1, min(-(-rows // size), most or rows))
    edges = [rows * number // count for number in range(count + 1)]
    return (range(first, last) for first, last in pairwise(edges))


def _named(cells: list[Any], classes: list[str] | None) -> list[Any]:
    """Cells of a column, with the names of classes that stand there by number."""
    return [_name(cell, classes) for cell in cells] if classes else cells


def _name(cell: Any, classes: list[str]) -> Any:
    if isinstance(cell, list):
        return [_name(each, classes) for each in cell]
    is_number = isinstance(cell, int) and 0 <= cell < len(classes)
    return classes[cell] if is_number else cell


def _row_digest(split: str, image: bytes | Defect, cells: tuple[Any, ...]) -> bytes:
    """cells: in the order of their columns' names."""
    reason, content = (image.reason, b"") if isinstance(image, Defect) else (None, image)
    return hashlib.sha256(repr((split, reason, cells)).encode() + b"\0" + content).digest()
