"""The same photographs in any container are the same data."""

import gzip
import json
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from pipeline.data.intake.opening import open_source
from pipeline.data.intake.prepare import prepare
from pipeline.data.intake.source import content_digest
from pipeline.data.prepared.reader import Split
from tests.support.data_samples import data_params, parquet_source
from tests.support.source_samples import (
    FOLDER,
    TABLE,
    classes_of_pngs,
    read,
    tar_bytes,
    write_files,
    write_zip,
)

SOURCES: dict[str, dict[str, Any]] = {
    "folder": FOLDER,
    "a.zip": FOLDER,
    "a.tar.gz": FOLDER,
    "paths": TABLE | {"split_column": "split"},
    "lines": TABLE | {"split_column": "split"},
    "shards": parquet_source(),
}
SPLITS = ("test", "train", "val")
"""In the order of folders by name."""


def written(root: Path) -> dict[str, Path]:
    """Three splits of six photographs each, in six containers."""
    files = {name: data for split in SPLITS for name, data in classes_of_pngs(6, f"{split}/").items()}
    rows = [
        {"file": name, "split": name.split("/")[0], "label": name.split("/")[1]} for name in sorted(files)
    ]
    write_files(root / "folder", files)
    write_zip(root / "a.zip", dict(reversed(files.items())))
    (root / "a.tar.gz").write_bytes(gzip.compress(tar_bytes({f"top/{name}": files[name] for name in files})))
    text = "".join(f"{row['file']};{row['split']};{row['label']}\n" for row in rows)
    write_files(root / "paths", files | {"all.csv": f"file;split;label\n{text}".encode()})
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    write_files(root / "lines", files | {"all.jsonl": lines.encode()})
    (root / "shards").mkdir()
    for split in SPLITS:
        part = [row for row in rows if row["split"] == split]
        table = {"image": [files[row["file"]] for row in part], "label": [row["label"] for row in part]}
        pq.write_table(pa.table(table), root / "shards" / f"{split}.parquet")
    return {name: root / name for name in SOURCES}


def test_rows_and_digests_are_equal(tmp_path: Path) -> None:
    found, digests = [], set()
    for name, path in written(tmp_path).items():
        batch = read(path, SOURCES[name])
        found.append((batch.images, batch.cells, batch.splits))
        with open_source(data_params(source=SOURCES[name]), path) as source:
            digests.add(content_digest(source, batch.digests(source.classes)))
    assert found == [found[0]] * 6
    assert len(digests) == 1
    assert found[0][2] == ["train"] * 6 + ["val"] * 6 + ["test"] * 6


def test_any_process_reads_any_piece(tmp_path: Path) -> None:
    for name, path in written(tmp_path).items():
        with open_source(data_params(source=SOURCES[name]), path) as source:
            sent = [pickle.loads(pickle.dumps(piece)) for piece in source.pieces]
            assert [list(piece.read()) for piece in sent] == [list(piece.read()) for piece in source.pieces]


def test_what_is_prepared_is_equal(tmp_path: Path) -> None:
    paths = written(tmp_path)
    write_files(paths["shards"], {".DS_Store": b""})
    for name in ("a.tar.gz", "shards"):
        prepare(data_params(source=SOURCES[name]), paths[name], tmp_path / "out" / name, tmp_path / "card")
    rows = torch.arange(6)
    assert (
        "## Files that are no rows\n\n- hidden or system files: 1\n"
        in (tmp_path / "card/card.md").read_text()
    )
    for split in SPLITS:
        one, other = (Split.open(tmp_path / "out" / name, split) for name in ("a.tar.gz", "shards"))
        assert one.targets["label"].equal(other.targets["label"])
        assert one.images(rows).equal(other.images(rows))
