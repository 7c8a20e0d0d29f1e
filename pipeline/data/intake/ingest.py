"""One pass over a source: every row decoded and checked, good pixels put into files, bad rows noted."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.fields.image import Pixels
from pipeline.data.intake.columns import count_values, fixed_bytes, integers
from pipeline.data.intake.decoding.guard import Unguarded
from pipeline.data.intake.decoding.piece import Order, decode_piece
from pipeline.data.intake.decoding.piece_file import (
    VALUE_PREFIX,
    copies_file,
    is_whole,
    pixels_file,
    read_rows,
    write_piece,
)
from pipeline.data.intake.decoding.processes import decode_beside
from pipeline.data.intake.limits import IntakeLimits
from pipeline.data.intake.source import Source
from pipeline.data.prepared.encoded import Encoded
from pipeline.data.prepared.shards import Indices
from pipeline.errors import DataError
from pipeline.images.decode import doubts_noted

FEW_ROWS = 20_000
"""Rows of raw pixels, which no file can make expensive, that are done before another process has started."""
FIRST_ROWS_SHOWN = 5


class _Place(NamedTuple):
    """Rows of one piece, as numbers among its good ones, and where they stand among those asked for."""

    piece: int
    rows: Indices
    asked: slice


@dataclass(frozen=True)
class PieceImages:
    """Images of all good rows, on the disk. ends: how many rows there are up to each piece's last."""

    folder: Path
    ends: Indices

    def places(self, rows: Indices) -> Iterator[_Place]:
        """Where rows, in ascending order, are found, a piece at a time."""
        pieces = np.searchsorted(self.ends, rows, side="right")
        firsts = np.flatnonzero(np.diff(pieces, prepend=-1)).tolist()
        for first, last in zip(firsts, [*firsts[1:], len(rows)], strict=True):
            piece = int(pieces[first])
            before = int(self.ends[piece - 1]) if piece else 0
            yield _Place(piece, rows[first:last] - before, slice(first, last))


@dataclass(frozen=True)
class PiecePixels(PieceImages):
    row_bytes: int

    def __getitem__(self, rows: Indices) -> Pixels:
        """(len(rows), row_bytes) of rows in ascending order; no more than a piece is mapped at once."""
        found = np.empty((len(rows), self.row_bytes), np.uint8)
        for piece, members, asked in self.places(rows):
            mapped = np.memmap(pixels_file(self.folder, piece), np.uint8, "r")
            found[asked] = mapped.reshape(-1, self.row_bytes)[members]
        return found


@dataclass(frozen=True)
class PieceCopies(PieceImages):
    """lengths: bytes of each copy."""

    lengths: Indices

    def __getitem__(self, rows: Indices) -> Encoded:
        """The copies of rows in ascending order."""
        parts = []
        for piece, members, _ in self.places(rows):
            lengths = self.lengths[self.ends[piece - 1] if piece else 0 : self.ends[piece]]
            mapped = np.memmap(copies_file(self.folder, piece), np.uint8, "r")
            parts.append(Encoded.of_lengths(lengths.tolist(), mapped)[members].data)
        return Encoded.of_lengths(self.lengths[rows].tolist(), np.concatenate(parts))


@dataclass(frozen=True)
class Ingested:
    """All rows, in the order of the source, in the columns of decoding/piece_file.py.

    content: SourceBatch.digests() of all of them, one after the other.
    """

    good: pa.Table
    bad: pa.Table
    content: bytes
    pixels: PiecePixels
    copies: PieceCopies


def ingest(source: Source, order: Order, folder: Path, processes: int, limits: IntakeLimits) -> Ingested:
    """Decode and check all rows, but those of pieces whose files are in the folder already.

    processes: how many at most decode beside this one; 0: this one, without limits for an item.
    limits: how many rows may be bad. Raises DataError if the source has no rows, no good rows,
    or too many bad ones.
    """
    row_bytes = order.check.row_bytes
    folder.mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(len(source.pieces)) if not is_whole(folder, number, row_bytes)]
    if processes == 0 or (source.raw_shape and source.rows < FEW_ROWS):
        _decode_here(source, missing, order, folder)
    else:
        decode_beside(source.pieces, missing, order, folder, processes)
    found = _gathered(source, folder, row_bytes)
    rows = found.good.num_rows + found.bad.num_rows
    if found.bad.num_rows > limits.max_quarantined * rows:
        whole = f"source {source.name!r}"
        raise DataError(_too_many(whole, found.bad, rows, "max_quarantined", limits.max_quarantined))
    _check_classes(source.name, found, order, limits.max_quarantined_of_class)
    if not found.good.num_rows:
        raise DataError(f"source {source.name!r} has no usable row; {_first_rows(found.bad)}")
    return found


def _decode_here(source: Source, numbers: list[int], order: Order, folder: Path) -> None:
    with doubts_noted():
        for number in numbers:
            write_piece(folder, number, decode_piece(source.pieces[number], order, Unguarded(), {}))


def _gathered(source: Source, folder: Path, row_bytes: int) -> Ingested:
    tables = [read_rows(folder, number) for number in range(len(source.pieces))]
    whole = [table for table in tables if table is not None]
    assert len(whole) == len(tables), "each piece was written, or an error was raised"
    if not sum(table.num_rows for table in whole):
        raise DataError(f"source {source.name!r} is empty; it needs at least a train and a val image")
    ends = np.cumsum([table.num_rows - table.column("digest").null_count for table in whole])
    rows = pa.concat_tables(whole, promote_options="permissive").combine_chunks()
    is_good = pc.is_null(rows.column("reason"))
    content = fixed_bytes(rows.column("content")).tobytes()
    rows = rows.drop_columns("content")
    good = rows.filter(is_good).combine_chunks()
    return Ingested(
        good=good,
        bad=rows.filter(pc.invert(is_good)).combine_chunks(),
        content=content,
        pixels=PiecePixels(folder, ends, row_bytes),
        copies=PieceCopies(folder, ends, integers(good.column("copy_bytes"))),
    )


def _check_classes(name: str, found: Ingested, order: Order, limit: float) -> None:
    """Raises DataError for a class of the first target that loses more than this fraction of its rows."""
    target, kind = next(iter(order.check.targets.items()))
    if kind.field != "class":
        return
    column = VALUE_PREFIX + target
    good, bad = (count_values(rows.column(column).drop_null()) for rows in (found.good, found.bad))
    for label, count in bad.items():
        rows = count + good.get(label, 0)
        if count > limit * rows:
            lost = found.bad.filter(pc.equal(found.bad.column(column), label))
            where = f"source {name!r}, class {label!r}"
            raise DataError(_too_many(where, lost, rows, "max_quarantined_of_class", limit))


def _too_many(where: str, bad: pa.Table, rows: int, key: str, limit: float) -> str:
    count = bad.num_rows
    return (
        f"{where}: {count} of {rows} rows are defective ({count / rows:.2%}), more than "
        f"data.limits.{key} allows ({limit:.2%}); {_first_rows(bad)}\n"
        f"Mend the rows, or raise data.limits.{key}: they are then left out and listed in quarantine.csv"
    )


def _first_rows(bad: pa.Table) -> str:
    first = bad.slice(0, FIRST_ROWS_SHOWN).to_pylist()
    lines = [f"  {row['file']} row {row['row']}: {row['reason']}: {row['detail']}" for row in first]
    return "\n".join(["the first:", *lines])
