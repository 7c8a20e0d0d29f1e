"""A piece of a source, read and decoded: each of its rows is good or has a defect.

Letter: C channels.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pipeline.data.intake.decoding.guard import ItemLimits, Unguarded
from pipeline.data.intake.decoding.piece_file import DIGEST_BYTES, VALUE_PREFIX, Done, image_digest
from pipeline.data.intake.decoding.sums import Sums, channel_sums
from pipeline.data.intake.source import CONTENT_BYTES, Piece, SourceBatch
from pipeline.data.intake.splitting.params import AnySplit, SplitByGroup, SplitByTime
from pipeline.data.intake.validate import KeptImage, RowCheck
from pipeline.data.prepared.shards import SLICE
from pipeline.images.defect import Defect


class Order(NamedTuple):
    """What is asked of every piece. classes: names by column, as the source knows them. split: needed if it
    has a column.
    """

    check: RowCheck
    slice_columns: Sequence[str]
    classes: Mapping[str, list[str]]
    limits: ItemLimits = ItemLimits()
    split: AnySplit | None = None


REPAIRS = pa.list_(pa.string())


class _Row(NamedTuple):
    """values: of each target, None if the labels are not what they must be. place: what the split needs.
    kept: None of a bad row.
    """

    values: Sequence[Any] | None
    place: Any
    kept: KeptImage | None
    defect: Defect | None


def decode_piece(piece: Piece, order: Order, guard: Unguarded, refused: Mapping[int, Defect]) -> Done:
    """All rows of a piece.

    refused: items that are not to be tried again, by their number in the piece. Raises DataError if the file
    that holds them is damaged.
    """
    tables: list[pa.Table] = []
    kept: list[KeptImage] = []
    first = 0
    for batch in piece.read():
        with guard.batch():
            rows = _rows(batch, order, guard, refused, first)
        first += len(rows)
        tables.append(_table(batch, order, rows))
        kept += [row.kept for row in rows if row.kept]
    return Done(
        pa.concat_tables(tables, promote_options="permissive").combine_chunks(),
        [each.pixels for each in kept],
        [each.copy for each in kept],
    )


def _rows(
    batch: SourceBatch, order: Order, guard: Unguarded, refused: Mapping[int, Defect], first: int
) -> list[_Row]:
    found = []
    for number, (image, cells) in enumerate(zip(batch.images, batch.cells_by_row(), strict=True), first):
        guard.begin(number)
        found.append(_row(image, cells, order, refused.get(number)))
    return found


def _row(image: bytes | Defect, cells: Mapping[str, Any], order: Order, refused: Defect | None) -> _Row:
    """A row, with its values also if its image has a defect."""
    defect = image if isinstance(image, Defect) else None
    values = place = kept = None
    try:
        values = order.check.values(cells)
        if isinstance(order.split, SplitByGroup | SplitByTime):
            place = order.split.cell(cells[order.split.column])
    except Defect as found:
        defect = defect or found
    defect = defect or refused
    if defect is None and not isinstance(image, Defect):
        try:
            kept = order.check.image(image)
        except Defect as found:
            defect = found
        except MemoryError:
            defect = Defect("too much memory", f"{len(image)} bytes need more than an image is given")
    return _Row(values, place, kept, defect)


def _table(batch: SourceBatch, order: Order, rows: Sequence[_Row]) -> pa.Table:
    sums, squares = _sums(rows, order.check.rule.channels)
    columns = {
        "file": pa.array(batch.files, pa.string()),
        "row": pa.array(batch.rows, pa.int64()),
        "split": pa.array(batch.splits, pa.string()),
        "content": pa.array(batch.digests(order.classes), pa.binary(CONTENT_BYTES)),
        "reason": pa.array([row.defect and row.defect.reason for row in rows], pa.string()),
        "detail": pa.array([row.defect and row.defect.detail for row in rows], pa.string()),
        "repairs": pa.array([list(row.kept.repairs) if row.kept else None for row in rows], REPAIRS),
        "digest": _digests([row.kept and row.kept.pixels for row in rows]),
        "copy_bytes": pa.array([len(row.kept.copy) if row.kept else None for row in rows], pa.int64()),
        "copy_digest": _digests([row.kept and row.kept.copy for row in rows]),
        "place": pa.array([row.place for row in rows]),
        "sums": _by_channel(sums),
        "squares": _by_channel(squares),
    }
    for place, name in enumerate(order.check.targets):
        columns[VALUE_PREFIX + name] = pa.array([row.values and row.values[place] for row in rows])
    for name, texts in batch.texts(order.slice_columns).items():
        columns[SLICE + name] = pa.array(texts, pa.string())
    return pa.table(columns)


def _digests(images: Sequence[bytes | None]) -> pa.Array:
    found = [None if image is None else image_digest(image) for image in images]
    return pa.array(found, pa.binary(DIGEST_BYTES))


def _sums(rows: Sequence[_Row], channels: int) -> tuple[Sums, Sums]:
    """Sums and squares of all rows, (rows, C); 0 in bad ones."""
    is_good = np.array([row.kept is not None for row in rows])
    sums, squares = np.zeros((2, len(rows), channels), np.int64)
    sums[is_good], squares[is_good] = channel_sums([row.kept.pixels for row in rows if row.kept], channels)
    return sums, squares


def _by_channel(sums: Sums) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(sums.reshape(-1), pa.int64()), sums.shape[1])
