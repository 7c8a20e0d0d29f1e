"""Small images, tables and parameters for the tests of pipeline.data."""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipeline.data.intake.opening import open_source
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.source import SourceBatch
from pipeline.images.rule import Stretch
from tests.support.places import ROOT

SIZE = 4
DIGITS = {"kind": "digits", "path": "data/raw/README.md"}
"""data.source of scikit-learn's digits."""
STRETCH = Stretch(rule="stretch", filter="bilinear")
REAL_DATA = Path(os.environ.get("ESPALIER_DATA", ROOT.parent / "shared" / "data"))


def parquet_source(**changes: Any) -> dict[str, Any]:
    """data.source of a table of encoded images."""
    return {"kind": "parquet", "path": "data/raw", "image_column": "image", "raw_shape": None} | changes


SPLIT = {"by": "rows", "val_fraction": 0.2, "test_fraction": 0.2, "seed": 0, "fold": None}
LIMITS = {
    "max_pixels": 50_000_000,
    "max_bytes": 100_000_000,
    "max_quarantined": 0.0,
    "max_quarantined_of_class": 1.0,
    "strict": False,
}


def data_params(**changes: Any) -> DataParams:
    """Section data. changes: of its keys, or of those of its keys `split` and `limits`."""
    inner = {key: changes.pop(key) for key in [*changes] if key in SPLIT | LIMITS}
    values: dict[str, Any] = {
        "source": parquet_source(),
        "targets": {"label": {"field": "class", "column": "label"}},
        "slice_columns": [],
        "height": SIZE,
        "width": SIZE,
        "channels": 3,
        "resize": {"rule": "stretch", "filter": "bilinear"},
        "sixteen_bit": "refuse",
        "store": {"kind": "pixels"},
        "split": SPLIT | {key: value for key, value in inner.items() if key in SPLIT},
        "limits": LIMITS | {key: value for key, value in inner.items() if key in LIMITS},
        "shard_rows": 7,
    }
    return DataParams.model_validate(values | changes)


def read_source(params: DataParams, path: Path) -> SourceBatch:
    """All rows of a source, as one batch."""
    with open_source(params, path) as source:
        batches = [batch for piece in source.pieces for batch in piece.read()]
    return SourceBatch(
        files=[file for batch in batches for file in batch.files],
        rows=[row for batch in batches for row in batch.rows],
        splits=[split for batch in batches for split in batch.splits],
        images=[image for batch in batches for image in batch.images],
        cells={
            column: [cell for batch in batches for cell in batch.cells[column]] for column in params.columns
        },
    )


def pixels(number: int, height: int = SIZE, width: int = SIZE, channels: int = 3) -> npt.NDArray[np.uint8]:
    """An image of its own for each number."""
    return np.random.default_rng(number).integers(0, 256, (height, width, channels), np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def photo(number: int, width: int, height: int) -> Image.Image:
    """A picture with detail at several scales, of its own for each number."""
    random = np.random.default_rng(number)
    layers = [
        np.asarray(
            Image.fromarray(random.integers(0, 256, (side, side, 3), np.uint8)).resize((width, height))
        )
        for side in (3, 12, 48)
    ]
    return Image.fromarray(np.average(layers, axis=0, weights=[4, 2, 1]).astype(np.uint8))


def png(number: int, height: int = SIZE, width: int = SIZE) -> bytes:
    return encoded(Image.fromarray(pixels(number, height, width)))


def write_table(
    path: Path,
    images: Sequence[bytes | None],
    labels: Sequence[Any],
    more: dict[str, Any] | None = None,
    **names: str,
) -> Path:
    """A Parquet file; more: further columns; names: other names for the columns image and label."""
    columns = {
        names.get("image", "image"): pa.array(images, pa.binary()),
        names.get("label", "label"): pa.array(labels),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns | (more or {})), path)
    return path


def good_table(path: Path, per_class: int = 5, classes: int = 2, first: int = 0) -> Path:
    """A table without defects, classes alternating."""
    count = per_class * classes
    return write_table(
        path, [png(first + number) for number in range(count)], [number % classes for number in range(count)]
    )
