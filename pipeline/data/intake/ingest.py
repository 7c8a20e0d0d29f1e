"""One pass over a source: every row checked, good pixels put into a scratch file, bad rows noted."""

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import IO, Any, NamedTuple

from pipeline.data.intake.source import Source, SourceBatch
from pipeline.data.intake.validate import KeptImage, RowCheck
from pipeline.errors import DataError
from pipeline.images.decode import doubts_noted
from pipeline.images.defect import Defect

DECODE_THREADS = 4
"""Pillow decodes without the interpreter lock; more threads gain nothing, because the rest of a row holds it.
"""
DIGEST_BYTES = 16
FIRST_ROWS_SHOWN = 5


class Row(NamedTuple):
    """A good row.

    split: as the source has it. values: of each target. digest: of its prepared pixels. slices: values of
    data.slice_columns. blank: of one colour. copy_bytes: length of the copy to train on.
    """

    file: str
    row: int
    split: str
    values: tuple[Any, ...]
    digest: bytes
    slices: tuple[str, ...] = ()
    blank: bool = False
    copy_bytes: int = 0


class BadRow(NamedTuple):
    """A row left out, as it stands in quarantine.csv."""

    file: str
    row: int
    reason: str
    detail: str


@dataclass
class Checked:
    """Result of checking rows, in the order of the source. digests: SourceBatch.digests() of all of them."""

    good: list[Row] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)


class Scratch(NamedTuple):
    """Files in which images wait for their split: the pixels of all rows, and their copies to train on."""

    pixels: IO[bytes]
    copies: IO[bytes]


def ingest(
    source: Source,
    check: RowCheck,
    scratch: Scratch,
    max_quarantined: float,
    slice_columns: Sequence[str],
) -> Checked:
    """Check all rows; the pixels of good[i] are the i-th equally long record of `scratch.pixels`.

    max_quarantined: largest fraction of bad rows. Raises DataError if the source has no rows, no good rows,
    or too many bad ones.
    """
    total = Checked()
    with doubts_noted():
        for checked, pixels, copies in _checked_in_order(source, check, slice_columns):
            scratch.pixels.write(pixels)
            scratch.copies.write(copies)
            total.good += checked.good
            total.bad += checked.bad
            total.digests += checked.digests
    scratch.pixels.flush()
    scratch.copies.flush()
    rows = len(total.good) + len(total.bad)
    if rows == 0:
        raise DataError(f"source {source.name!r} is empty; it needs at least a train and a val image")
    if len(total.bad) > max_quarantined * rows:
        raise DataError(_too_many(source.name, total.bad, rows, max_quarantined))
    if not total.good:
        raise DataError(f"source {source.name!r} has no usable row; {_first_rows(total.bad)}")
    return total


def _checked_in_order(
    source: Source, check: RowCheck, slice_columns: Sequence[str]
) -> Iterator[tuple[Checked, bytes, bytes]]:
    """Results in the order of the batches, with few batches in memory at once."""
    with ThreadPoolExecutor(DECODE_THREADS, thread_name_prefix="decode") as pool:
        waiting: deque[Future[tuple[Checked, bytes, bytes]]] = deque()
        for batch in (batch for piece in source.pieces for batch in piece.read()):
            waiting.append(pool.submit(_check_batch, source, batch, check, slice_columns))
            if len(waiting) > DECODE_THREADS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _check_batch(
    source: Source, batch: SourceBatch, check: RowCheck, slice_columns: Sequence[str]
) -> tuple[Checked, bytes, bytes]:
    """The rows of a batch, the pixels of the good ones, and their copies."""
    checked = Checked()
    checked.digests += batch.digests(source.classes)
    kept: list[KeptImage] = []
    rows = zip(
        batch.files,
        batch.rows,
        batch.splits,
        batch.images,
        batch.cells_by_row(),
        batch.texts(slice_columns),
        strict=True,
    )
    for file, row, split, image, cells, slices in rows:
        try:
            if isinstance(image, Defect):
                raise image
            values = check.values(cells)
            found = check.image(image)
        except Defect as defect:
            checked.bad.append(BadRow(file, row, defect.reason, defect.detail))
            continue
        pixels = found.pixels
        digest = hashlib.blake2b(pixels, digest_size=DIGEST_BYTES).digest()
        blank = pixels == pixels[: check.rule.channels] * (len(pixels) // check.rule.channels)
        checked.good.append(Row(file, row, split, values, digest, slices, blank, len(found.copy)))
        kept.append(found)
    return checked, b"".join(each.pixels for each in kept), b"".join(each.copy for each in kept)


def _too_many(name: str, bad: list[BadRow], rows: int, limit: float) -> str:
    return (
        f"source {name!r}: {len(bad)} of {rows} rows are defective ({len(bad) / rows:.2%}), more than "
        f"data.max_quarantined allows ({limit:.2%}); {_first_rows(bad)}\n"
        "Mend the rows, or raise data.max_quarantined: they are then left out and listed in quarantine.csv"
    )


def _first_rows(bad: list[BadRow]) -> str:
    lines = [f"  {row.file} row {row.row}: {row.reason}: {row.detail}" for row in bad[:FIRST_ROWS_SHOWN]]
    return "\n".join(["the first:", *lines])
