"""A few rows of noise in place of data that are yet to be prepared, of the size that params.yaml gives."""

from pathlib import Path

import numpy as np

from pipeline.data.fields.field import PIXELS, AnyField, Values, counts
from pipeline.data.fields.image import ImageField
from pipeline.data.intake.params import DataParams
from pipeline.data.prepared.manifest import Manifest, SourceInfo, SplitInfo, write_manifest
from pipeline.data.prepared.shards import Table, origins, write_shards

ROWS = 8


def stand_in(params: DataParams, folder: Path) -> Path:
    """Prepared data with equal splits of noise. Returns their folder."""
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(
        0, 256, (ROWS, params.height * params.width * params.channels), np.uint8
    )
    rows = np.arange(ROWS)
    settled = {name: target.settle(target.examples(ROWS), None) for name, target in params.targets.items()}
    image = ImageField(**params.rule._asdict(), mean=[0.5] * params.channels, std=[0.25] * params.channels)
    targets = {name: each.field(rows) for name, each in settled.items()}
    fields: dict[str, AnyField] = {PIXELS: image, **targets}
    columns: dict[str, Values] = {PIXELS: pixels} | {name: each.values for name, each in settled.items()}
    table = Table(fields, columns, origins(["noise"] * len(rows), rows))
    splits = {}
    for name in ("train", "val", "test"):
        shards = write_shards(folder, name, table, rows, ROWS)
        seen = {target: counts(field, columns[target]) for target, field in targets.items()}
        splits[name] = SplitInfo(rows=ROWS, counts=seen, shards=shards)
    manifest = Manifest(
        fields=fields,
        splits=splits,
        source=SourceInfo(name="noise", sha256="0" * 64, left_out={}),
        quarantined={},
        duplicates={},
    )
    write_manifest(folder, manifest)
    return folder
