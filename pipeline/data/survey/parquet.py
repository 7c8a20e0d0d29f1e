"""Whether files are Parquet tables that hold images."""

import io
import math
from typing import Any

from PIL import Image

from pipeline.data.intake.readers.arrow import is_list_type, open_parquet_file
from pipeline.data.intake.readers.parquet_files import is_table, split_files
from pipeline.data.intake.readers.parquet_images import check_image_column, images_of
from pipeline.data.intake.trees.tree import Tree
from pipeline.data.survey.offer import Offer, preferred
from pipeline.errors import DataError
from pipeline.images.defect import Defect

IMAGE_WORDS = ("image", "img", "photo", "picture", "jpg", "jpeg", "png", "pixels", "bytes", "content", "data")
ROWS_TRIED = 20
"""Rows among which to look for a first image."""
SMALLEST_SIDE = 4
"""Pixels of raw images; shorter lists are something else."""


def offer_parquet(tree: Tree) -> Offer | None:
    """Decided by the first table's columns, and its first image."""
    if not any(is_table(name) for name in tree.files):
        return None
    name = next(iter(split_files(tree.name, list(tree.files))[0]))
    with open_parquet_file(tree.local(name), tree.shown(name)) as table:
        schema, rows = table.schema_arrow, table.metadata.num_rows
        for column in preferred(schema.names, IMAGE_WORDS) if rows else ():
            image = _first(table, column) if _may_hold_images(schema, column) else None
            raw_shape = None if image is None or _is_encoded(image) else _square(len(image))
            if image is not None and (raw_shape or _is_encoded(image)):
                source = {"kind": "parquet", "image_column": column, "raw_shape": raw_shape}
                what = "raw pixels" if raw_shape else "images"
                others = [each for each in schema.names if each != column]
                return Offer(source, others, f"Parquet with {what} in column {column!r}")
    return None


def _may_hold_images(schema: Any, column: str) -> bool:
    is_list = is_list_type(schema.field(column).type)
    try:
        check_image_column("", schema, column, is_list)
    except DataError:
        return False
    return not is_list or any(word in column.lower() for word in IMAGE_WORDS)


def _first(table: Any, column: str) -> bytes | None:
    batch = next(table.iter_batches(ROWS_TRIED, columns=[column]))
    return next((image for image in images_of(batch.column(0)) if not isinstance(image, Defect)), None)


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
        if side >= SMALLEST_SIDE and side * side * channels == length:
            return [side, side, channels]
    return None
