"""WebDataset's archives: the files of a sample have one name and several suffixes."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.data.intake.readers.records import SampleRecord, recorded_source
from pipeline.data.intake.source import Source
from pipeline.data.intake.tables.kinds import typed
from pipeline.data.intake.trees.blob import Blob, RefusedBlob, content
from pipeline.data.intake.trees.names import IMAGES, split_in
from pipeline.data.intake.trees.tree import Tree, open_tree
from pipeline.images.defect import Defect

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.zst")
TEXT_SUFFIXES = ("cls", "txt", "text", "caption")
"""Suffixes whose files hold one cell; those of json hold an object of several."""
MOST_TEXT_BYTES = 1 << 20


def open_webdataset(path: Path, columns: Sequence[str], scratch: Path) -> Source:
    """A row for each sample of one archive, or of all in a folder, whose names say their splits.

    Columns are the suffixes of small files (cls, txt) and the keys of json. Raises DataError: nothing at the
    path, no sample, a damaged archive.
    """
    tree = open_tree(path, scratch)
    shards = [name for name in tree.files if name.lower().endswith(ARCHIVES)]
    samples = [(split_in(name) or "train", open_tree(tree.local(name), scratch)) for name in shards]
    records = [
        record for split, shard in samples or [("train", tree)] for record in _records(shard.files, split)
    ]
    for column in set(columns) & set(TEXT_SUFFIXES):
        _type_texts(records, column)
    inner = Tree(tree.name, scratch, {}, tuple(each for _, shard in samples for each in shard.refused), {})
    left_out = {"samples without an image": sum(not record.file for record in records)}
    found = [record for record in records if record.file]
    return recorded_source(
        inner if samples else tree, found, columns, {k: v for k, v in left_out.items() if v}
    )


def _records(files: Mapping[str, Blob], split: str) -> Iterator[SampleRecord]:
    samples: defaultdict[str, dict[str, Blob]] = defaultdict(dict)
    for name, blob in files.items():
        folder, slash, base = name.rpartition("/")
        key, _, suffix = base.partition(".")
        samples[f"{folder}{slash}{key}"][suffix.lower()] = blob
    for key, parts in samples.items():
        image = next((suffix for suffix in parts if f".{suffix}" in IMAGES), None)
        if image is None:
            yield SampleRecord("", split, RefusedBlob("no image", ""), {})
            continue
        try:
            yield SampleRecord(f"{key}.{image}", split, parts[image], _cells(parts))
        except Defect as defect:
            yield SampleRecord(f"{key}.{image}", split, RefusedBlob(defect.reason, defect.detail), {})


def _cells(parts: Mapping[str, Blob]) -> dict[str, Any]:
    """Raises Defect for a file that is no text or no JSON object."""
    cells: dict[str, Any] = {}
    for suffix, blob in parts.items():
        if suffix not in (*TEXT_SUFFIXES, "json"):
            continue
        try:
            text = content(blob, MOST_TEXT_BYTES).decode("utf-8-sig").strip()
            found = json.loads(text) if suffix == "json" else {suffix: text}
        except (ValueError, RecursionError) as error:
            raise Defect("malformed row", f"its .{suffix} cannot be read ({error})") from error
        if not isinstance(found, dict):
            raise Defect("malformed row", f"its .{suffix} is no JSON object")
        cells |= found
    return cells


def _type_texts(records: list[SampleRecord], column: str) -> None:
    """Make numbers of the texts of a column, if all are."""
    _, cells = typed([record.cells.get(column) for record in records], None, decimal_comma=False)
    for place, (record, cell) in enumerate(zip(records, cells, strict=True)):
        records[place] = record._replace(cells={**record.cells, column: cell})
