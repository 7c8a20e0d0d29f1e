"""A few rows of noise in place of data that are yet to be prepared, of the size that params.yaml gives."""

from pathlib import Path

import numpy as np

from pipeline.data.fields.field import LABEL, PIXELS, AnyField
from pipeline.data.fields.image import ImageField
from pipeline.data.fields.one_class import ClassField
from pipeline.data.intake.params import DataParams
from pipeline.data.prepared.manifest import Manifest, SourceInfo, SplitInfo, write_manifest
from pipeline.data.prepared.shards import Table, write_shards

ROWS = 8
NUM_CLASSES = 2


def stand_in(params: DataParams, folder: Path) -> Path:
    """Prepared data with equal splits of noise. Returns their folder."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(
        0, 256, (ROWS, params.height * params.width * params.channels), np.uint8
    )
    labels = np.arange(ROWS, dtype=np.int64) % NUM_CLASSES
    rows = np.arange(ROWS)
    image = ImageField(
        height=params.height,
        width=params.width,
        channels=params.channels,
        mean=[0.5] * params.channels,
        std=[0.25] * params.channels,
    )
    fields: dict[str, AnyField] = {
        PIXELS: image,
        LABEL: ClassField(classes=[str(label) for label in range(NUM_CLASSES)]),
    }
    table = Table(fields, {PIXELS: pixels, LABEL: labels}, [("noise", row) for row in rows.tolist()])
    splits = {}
    for name in ("train", "val", "test"):
        shards = write_shards(folder, name, table, rows, ROWS)
        splits[name] = SplitInfo(rows=ROWS, class_counts=np.bincount(labels).tolist(), shards=shards)
    manifest = Manifest(
        fields=fields,
        splits=splits,
        source=SourceInfo(name="noise", sha256="0" * 64),
        quarantined={},
        duplicates={},
    )
    write_manifest(folder, manifest)
    return folder
