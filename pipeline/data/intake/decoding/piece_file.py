"""What became of a piece, as files that outlive the process: a table of its rows, and their images.

The table is renamed to its name last. It begins with the SHA-256 of what follows, and its rows hold digests
of their images: a piece that a dead process or a broken disk left unfinished is known, and done again.
"""

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import PIL
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.files import may_write
from pipeline.data.intake.columns import integers

DIGEST_BYTES = 16
"""Bytes of the digest of an image."""
SEAL_BYTES = 32
PIECE_VERSIONS = {b"pillow": PIL.__version__.encode()}
"""Stands in the table: pixels of another Pillow may differ."""
VALUE_PREFIX = "value."
"""Columns of targets begin with this, those of data.slice_columns with shards.SLICE.

The others: file, row, split, content (what the manifest's digest is taken over), reason and detail (null in
good rows), repairs (a list), digest (of the pixels, null in bad rows), copy_bytes and copy_digest (of the
copy to train on), place (what data.split needs of a row), sums and squares (of each channel).
"""


class Done(NamedTuple):
    """rows: all of a piece, in order, in the columns above. pixels, copies: of good ones, as in KeptImage."""

    rows: pa.Table
    pixels: Sequence[bytes]
    copies: Sequence[bytes]


def write_piece(folder: Path, number: int, done: Done) -> None:
    """Raises DiskError."""
    table = done.rows.replace_schema_metadata(PIECE_VERSIONS)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content = sink.getvalue()
    _put(pixels_file(folder, number), *done.pixels)
    _put(copies_file(folder, number), *done.copies)
    _put(_table_file(folder, number), hashlib.sha256(content).digest(), content)


def read_rows(folder: Path, number: int) -> pa.Table | None:
    """The table of a piece, None if it is not there as it was written."""
    try:
        sealed = _table_file(folder, number).read_bytes()
    except FileNotFoundError:
        return None
    content = memoryview(sealed)[SEAL_BYTES:]
    if hashlib.sha256(content).digest() != sealed[:SEAL_BYTES]:
        return None
    with pa.ipc.open_stream(pa.py_buffer(content)) as reader:
        return reader.read_all()


def is_whole(folder: Path, number: int, row_bytes: int) -> bool:
    """Whether a piece is there as this Pillow made it, with all its images.

    row_bytes: of the pixels of an image.
    """
    table = read_rows(folder, number)
    if table is None or table.schema.metadata != PIECE_VERSIONS:
        return False
    try:
        pixels = pixels_file(folder, number).read_bytes()
        copies = copies_file(folder, number).read_bytes()
    except FileNotFoundError:
        return False
    good = table.filter(pc.is_valid(table.column("digest")))
    lengths = integers(good.column("copy_bytes"))
    return _are(good.column("digest"), pixels, [row_bytes] * len(good)) and _are(
        good.column("copy_digest"), copies, lengths.tolist()
    )


def _are(digests: Any, images: bytes, lengths: Sequence[int]) -> bool:
    """Whether images that lie one after the other have these digests."""
    edges = [0, *accumulate(lengths)]
    found = [image_digest(images[first:last]) for first, last in pairwise(edges)]
    return len(images) == edges[-1] and found == digests.to_pylist()


def pixels_file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.pixels"


def copies_file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.copies"


def _table_file(folder: Path, number: int) -> Path:
    return folder / f"{number:06d}.rows"


def image_digest(image: bytes) -> bytes:
    return hashlib.blake2b(image, digest_size=DIGEST_BYTES).digest()


def _put(path: Path, *parts: Any) -> None:
    """Write a file under a name that nobody reads, and rename it."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    with may_write(path):
        try:
            with temporary.open("wb") as file:
                file.writelines(parts)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def columns_of(table: pa.Table, prefix: str) -> Mapping[str, Any]:
    """Columns whose names begin with a prefix, without it."""
    names = [name for name in table.column_names if name.startswith(prefix)]
    return {name.removeprefix(prefix): table.column(name) for name in names}
