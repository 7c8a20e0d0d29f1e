"""The stage `prepare`: read and check, settle the targets, cut into splits, write shards and a card."""

import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

from pipeline.base.files import atomic_dir
from pipeline.data.fields.encoded import Encoded
from pipeline.data.fields.field import PIXELS, AnyField, Values, counts
from pipeline.data.fields.image import ImageField, Pixels
from pipeline.data.intake.card import write_card
from pipeline.data.intake.findings import find
from pipeline.data.intake.ingest import Checked, Row, Scratch, ingest
from pipeline.data.intake.opening import open_source
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.source import Source, content_digest
from pipeline.data.intake.splits import assign_splits, count_duplicates
from pipeline.data.intake.statistics import channel_statistics
from pipeline.data.intake.validate import RowCheck
from pipeline.data.prepared.manifest import Manifest, SourceInfo, SplitInfo, write_manifest
from pipeline.data.prepared.shards import Table, write_shards
from pipeline.errors import DataError

MOST_SLICES = 50
"""Values of a slice column: beyond, it numbers the images instead of telling kinds of them apart."""


def prepare(params: DataParams, source_path: Path, out: Path, card: Path) -> Manifest:
    """Write the prepared data to `out` and its description to `card`; equal inputs give equal bytes.

    Each folder is replaced as a whole at the end, and both stay as they are after an error.
    Raises DataError for a source, a class or a split that cannot be used, or too many defective rows.
    """
    with open_source(params, source_path) as source:
        check = RowCheck(
            params.rule,
            params.store,
            params.max_pixels,
            source.raw_shape,
            params.targets,
            source.classes_of(params.targets),
        )
        row_bytes = params.height * params.width * params.channels
        with atomic_dir(out) as folder:
            # Splits are known only after the last row, and images may not fit into memory: they wait in
            # nameless files.
            with tempfile.TemporaryFile(dir=folder) as first, tempfile.TemporaryFile(dir=folder) as second:
                scratch = Scratch(first, second)
                checked = ingest(source, check, scratch, params.max_quarantined, params.slice_columns)
                pixels = np.memmap(scratch.pixels, np.uint8, "r", shape=(len(checked.good), row_bytes))
                copies = _copies(checked.good, scratch) if params.store.kind == "encoded" else None
                manifest = _write(folder, params, source, checked, pixels, copies)
            findings = find(checked.good, manifest.targets, _slices(checked.good, params.slice_columns))
            if params.strict and findings:
                listed = "\n".join(f"  {finding}" for finding in findings)
                raise DataError(
                    f"source {source.name!r}: data.strict refuses what was found:\n{listed}\nMend it, or set "
                    "strict to false"
                )
            with atomic_dir(card) as card_folder:
                write_card(card_folder, manifest, checked.bad, findings, folder)
    return manifest


def _copies(rows: list[Row], scratch: Scratch) -> Encoded:
    return Encoded.of_lengths([row.copy_bytes for row in rows], np.memmap(scratch.copies, np.uint8, "r"))


def _write(
    folder: Path,
    params: DataParams,
    source: Source,
    checked: Checked,
    pixels: Pixels,
    copies: Encoded | None,
) -> Manifest:
    """Shards and manifest. copies: of all rows, which the training split has instead of pixels."""
    rows, classes = checked.good, source.classes_of(params.targets)
    settled = {
        name: target.settle([row.values[place] for row in rows], classes.get(name))
        for place, (name, target) in enumerate(params.targets.items())
    }
    splits = assign_splits(rows, list(settled.values()), source.splits, params)
    mean, std = channel_statistics(pixels, splits["train"], params.channels)
    image = ImageField(**params.rule._asdict(), mean=mean, std=std)
    targets = {name: target.field(splits["train"]) for name, target in settled.items()}
    fields: dict[str, AnyField] = {PIXELS: image, **targets}
    columns: dict[str, Values] = {PIXELS: pixels} | {name: each.values for name, each in settled.items()}
    table = Table(fields, columns, [(row.file, row.row) for row in rows], _slices(rows, params.slice_columns))
    manifest = Manifest(
        fields=fields,
        splits={
            split: SplitInfo(
                rows=len(indices),
                images="encoded" if split == "train" and copies else "pixels",
                counts={name: counts(field, columns[name][indices]) for name, field in targets.items()},
                shards=write_shards(
                    folder, split, table, indices, params.shard_rows, copies if split == "train" else None
                ),
            )
            for split, indices in splits.items()
        },
        source=SourceInfo(name=source.name, sha256=content_digest(source, checked.digests)),
        quarantined=dict(sorted(Counter(row.reason for row in checked.bad).items())),
        duplicates=count_duplicates(rows, splits),
    )
    write_manifest(folder, manifest)
    return manifest


def _slices(rows: list[Row], columns: list[str]) -> list[tuple[str, list[str]]]:
    """Each slice column with its values. Raises DataError if one has too many different ones."""
    found = [(name, [row.slices[number] for row in rows]) for number, name in enumerate(columns)]
    for name, values in found:
        if len(set(values)) > MOST_SLICES:
            raise DataError(
                f"column {name!r} (data.slice_columns) has {len(set(values))} different values, more than "
                f"{MOST_SLICES}; name columns that tell kinds of images apart"
            )
    return found
