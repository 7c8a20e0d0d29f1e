"""Images in a column of a Parquet table: bytes, bytes packed with a path, or raw pixels as lists."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.types as pt

from pipeline.base.params import nearest
from pipeline.data.intake.readers.arrow import is_list_type
from pipeline.errors import DataError
from pipeline.images.defect import Defect

BYTES = "bytes"
BINARY = (pt.is_binary, pt.is_large_binary, pt.is_fixed_size_binary, pt.is_binary_view)
TEXT_TYPES = (pt.is_string, pt.is_large_string, pt.is_string_view)


def check_image_column(name: str, schema: Any, column: str, is_raw: bool) -> None:
    """Raises DataError unless a table has a column of images.

    name: of the table. is_raw: whether data.source.raw_shape is given, which lists of pixels need.
    """
    if column not in schema.names:
        known = nearest(column, schema.names)
        raise DataError(f"{name}: no column {column!r} (data.source.image_column){known}")
    image = schema.field(column).type
    if _innermost(image) is None and not _holds_bytes(image):
        names_files = any(test(image) for test in TEXT_TYPES)
        raise DataError(
            f"{name}: column {column!r} is {image}; it must be binary (encoded files or raw pixels), a "
            f"struct with them in its field {BYTES!r}, or lists of raw pixels"
            + ("; for a table that names files take kind: table" if names_files else "")
        )
    if _innermost(image) is not None and not is_raw:
        raise DataError(f"{name}: column {column!r} holds lists of pixels; say their data.source.raw_shape")


def images_of(column: Any) -> list[bytes | Defect]:
    """Bytes of each row's image."""
    while pt.is_struct(column.type):
        column = pc.struct_field(column, BYTES)
    if is_list_type(column.type):
        return [_pixels(row.values) if row.is_valid else _null() for row in column]
    return [_null() if image is None else image for image in column.to_pylist()]


def _null() -> Defect:
    return Defect("null image", "the image is null")


def _pixels(values: Any) -> bytes | Defect:
    """Raw pixels of one image, from lists however deep."""
    while is_list_type(values.type):
        values = values.flatten()
    if values.null_count:
        return Defect("null image", "a pixel is null")
    found = values.to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore"):  # of NaN
        pixels: npt.NDArray[np.uint8] = found.astype(np.uint8)
    if (pixels != found).any():
        return Defect("pixel out of range", "pixels must be whole numbers of 0 to 255")
    return pixels.tobytes()


def _innermost(column: Any) -> Any | None:
    """The type of the numbers in lists, however deep; None if there are none."""
    if not is_list_type(column):
        return None
    inner = column.value_type
    return inner if pt.is_integer(inner) or pt.is_floating(inner) else _innermost(inner)


def _holds_bytes(column: Any) -> bool:
    """Whether an Arrow type is of bytes, also packed as in Hugging Face's data sets: struct<bytes, path>."""
    if pt.is_struct(column):
        return column.get_field_index(BYTES) >= 0 and _holds_bytes(column.field(BYTES).type)
    if pt.is_dictionary(column):
        column = column.value_type
    return any(test(column) for test in BINARY)
