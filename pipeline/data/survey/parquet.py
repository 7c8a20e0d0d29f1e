"""Whether files are Parquet tables that hold images."""

import io
import math
from typing import Any

import pyarrow.types as pt
from PIL import Image

from pipeline.data.intake.readers.arrow import open_parquet_file
from pipeline.data.intake.trees.tree import Tree
from pipeline.data.survey.offer import Offer, preferred

SUFFIX = ".parquet"
IMAGE_WORDS = ("image", "img", "photo", "picture", "jpg", "jpeg", "png", "pixels", "bytes", "content", "data")
BYTES = "bytes"
LONGEST_LOOKED_AT = 20
"""Rows among which to look for a first image."""


def offer_parquet(tree: Tree) -> Offer | None:
    """By the first table's columns, and its first image."""
    tables = [name for name in tree.files if name.lower().endswith(SUFFIX)]
    if not tables:
        return None
    with open_parquet_file(tree.local(tables[0])) as table:
        schema = table.schema_arrow
        kinds = dict(zip(schema.names, schema.types, strict=True))
        held = preferred([name for name, kind in kinds.items() if _holds_bytes(kind)], IMAGE_WORDS)
        if not held or not table.metadata.num_rows:
            return None
        first = _first(table, held[0])
    raw_shape = None if first is None or _is_encoded(first) else _square(len(first))
    if first is not None and raw_shape is None and not _is_encoded(first):
        return None
    source = {"kind": "parquet", "image_column": held[0], "raw_shape": raw_shape}
    others = [name for name in schema.names if name not in held]
    return Offer(source, others, f"Parquet with {'raw pixels' if raw_shape else 'images'} in {held[0]!r}")


def _holds_bytes(kind: Any) -> bool:
    if pt.is_struct(kind):
        return kind.get_field_index(BYTES) >= 0 and _holds_bytes(kind.field(BYTES).type)
    if pt.is_dictionary(kind):
        kind = kind.value_type
    tests = (pt.is_binary, pt.is_large_binary, pt.is_fixed_size_binary, pt.is_binary_view)
    return any(test(kind) for test in tests)


def _first(table: Any, column: str) -> bytes | None:
    batch = next(table.iter_batches(LONGEST_LOOKED_AT, columns=[column]))
    for cell in batch.column(0).to_pylist():
        data = cell.get(BYTES) if isinstance(cell, dict) else cell
        if data is not None:
            return bytes(data)
    return None


def _is_encoded(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data)):
            return True
    except Exception:  # as Pillow's plugins raise almost any kind
        return False


def _square(length: int) -> list[int] | None:
    """[height, width, channels] of raw pixels of a square image."""
    for channels in (1, 3):
        side = math.isqrt(length // channels)
        if side > 1 and side * side * channels == length:
            return [side, side, channels]
    return None
