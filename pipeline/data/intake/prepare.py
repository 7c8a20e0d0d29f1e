"""The stage `prepare`: read and check, settle the targets, cut into splits, write shards and a card."""

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.base.files import atomic_dir
from pipeline.data.fields.field import ORIGIN, PIXELS, AnyField, counts
from pipeline.data.fields.image import ImageField
from pipeline.data.intake.card import write_card
from pipeline.data.intake.columns import by_channel, count_values, integers, take_rows
from pipeline.data.intake.decoding.piece import Order
from pipeline.data.intake.decoding.piece_file import VALUE_PREFIX, columns_of
from pipeline.data.intake.findings import find
from pipeline.data.intake.ingest import Ingested, ingest
from pipeline.data.intake.opening import open_source
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.settled.settled import Settled
from pipeline.data.intake.source import Source, content_digest
from pipeline.data.intake.splitting.assign import assign_splits, count_duplicates
from pipeline.data.intake.statistics import channel_statistics
from pipeline.data.intake.validate import RowCheck
from pipeline.data.prepared.manifest import Manifest, SourceInfo, SplitInfo, write_manifest
from pipeline.data.prepared.shards import SLICE, Rows, Table, write_shards
from pipeline.errors import DataError

MOST_SLICES = 50
"""Values of a slice column: beyond, it numbers the images instead of telling kinds of them apart."""
SHARD_BYTES = 1 << 28
"""Pixels of a shard, which is in memory while it is written: of large images it has fewer rows."""


def prepare(
    params: DataParams, source_path: Path, out: Path, card: Path, work: Path | None = None, processes: int = 0
) -> Manifest:
    """Write the prepared data to `out` and its description to `card`; equal inputs give equal bytes.

    Each folder is replaced as a whole at the end, and both stay as they are after an error. work: folder of
    this source and these parameters alone, in which decoded pieces outlive a killed process; it is gone at
    the end. processes: see ingest(). Raises DataError for a source, a class or a split that cannot be used,
    or too many defective rows.
    """
    with ExitStack() as stack:
        source = stack.enter_context(open_source(params, source_path))
        work = work or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        check = RowCheck(
            params.rule,
            params.store,
            params.limits,
            source.raw_shape,
            params.targets,
            source.classes_of(params.targets),
        )
        order = Order(check, params.slice_columns, source.classes, split=params.split)
        found = ingest(source, order, work, processes, params.limits)
        slices = _slices(found.good)
        with atomic_dir(out) as folder:
            manifest = _write(folder, params, source, found)
            findings = find(found.good, manifest.targets, slices, params.height * params.width)
            if params.limits.strict and findings:
                listed = "\n".join(f"  {finding}" for finding in findings)
                raise DataError(
                    f"source {source.name!r}: data.limits.strict refuses what was found:\n{listed}\nMend it, "
                    "or set strict to false"
                )
            with atomic_dir(card) as card_folder:
                write_card(card_folder, manifest, found.bad, findings, folder)
        shutil.rmtree(work)
    return manifest


def _write(folder: Path, params: DataParams, source: Source, found: Ingested) -> Manifest:
    settled = _settled(params, source, found.good)
    splits = assign_splits(found.good, list(settled.values()), source.splits, params.split)
    image = _image(params, take_rows(found.good.select(["sums", "squares"]), splits["train"]))
    targets = {name: target.field(splits["train"]) for name, target in settled.items()}
    fields: dict[str, AnyField] = {PIXELS: image, **targets}
    values = {name: each.values for name, each in settled.items()}
    columns: dict[str, Rows] = {PIXELS: found.pixels, **values}
    others = [*ORIGIN, *(name for name in found.good.column_names if name.startswith(SLICE))]
    table = Table(fields, columns, found.good.select(others))
    copies = found.copies if params.store.kind == "encoded" else None
    shard_rows = min(params.shard_rows, max(1, SHARD_BYTES // image.row_bytes))
    repairs = found.good.column("repairs")
    repaired = int(np.count_nonzero(integers(pc.list_value_length(repairs).cast(pa.int64()))))
    manifest = Manifest(
        fields=fields,
        splits={
            split: SplitInfo(
                rows=len(indices),
                images=params.store.kind if split == "train" else "pixels",
                counts={name: counts(field, values[name][indices]) for name, field in targets.items()},
                shards=write_shards(
                    folder, split, table, indices, shard_rows, copies if split == "train" else None
                ),
            )
            for split, indices in splits.items()
        },
        source=SourceInfo(
            name=source.name,
            sha256=content_digest(source, [found.content]),
            left_out=dict(source.left_out),
        ),
        outcomes={
            "accepted": len(found.good) - repaired,
            "repaired": repaired,
            "quarantined": len(found.bad),
        },
        repaired=count_values(pc.list_flatten(repairs)),
        quarantined=count_values(found.bad.column("reason")),
        duplicates=count_duplicates(found.good, splits),
    )
    write_manifest(folder, manifest)
    return manifest


def _settled(params: DataParams, source: Source, rows: pa.Table) -> dict[str, Settled]:
    classes, values = source.classes_of(params.targets), columns_of(rows, VALUE_PREFIX)
    return {name: target.settle(values[name], classes.get(name)) for name, target in params.targets.items()}


def _image(params: DataParams, train: pa.Table) -> ImageField:
    sums, squares = by_channel(train.column("sums")), by_channel(train.column("squares"))
    mean, std = channel_statistics(sums, squares, params.height * params.width)
    return ImageField(**params.rule._asdict(), mean=mean, std=std)


def _slices(rows: pa.Table) -> Mapping[str, list[str]]:
    """The values of each slice column. Raises DataError if one has too many different ones."""
    found = {name: column.unique().to_pylist() for name, column in columns_of(rows, SLICE).items()}
    for name, values in found.items():
        if len(values) > MOST_SLICES:
            raise DataError(
                f"column {name!r} (data.slice_columns) has {len(values)} different values, more than "
                f"{MOST_SLICES}; name columns that tell kinds of images apart"
            )
    return found
