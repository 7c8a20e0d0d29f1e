"""WebDataset's archives."""

import gzip
from pathlib import Path

import pytest

from pipeline.data.intake.opening import open_source
from pipeline.errors import DataError
from tests.support.data_samples import data_params
from tests.support.source_samples import left_out, read, tar_bytes, told, write_files

WEBDATASET = {"kind": "webdataset", "path": "x"}
CLS = {"label": {"field": "class", "column": "cls"}}


def samples(first: int, count: int = 3) -> dict[str, bytes]:
    files: dict[str, bytes] = {}
    for number in range(first, first + count):
        files |= {
            f"{number:06d}.jpg": b"%d" % number,
            f"{number:06d}.cls": b"%d\n" % (number % 2),
            f"{number:06d}.json": b'{"tags": ["a"], "n": %d}' % number,
        }
    return files


def test_shards_of_splits_with_their_cells(tmp_path: Path) -> None:
    (tmp_path / "train-000000.tar").write_bytes(tar_bytes(samples(0)))
    (tmp_path / "train-000001.tar.gz").write_bytes(gzip.compress(tar_bytes(samples(3, 1))))
    (tmp_path / "val-000000.tar").write_bytes(tar_bytes(samples(4, 1)))
    targets = CLS | {
        "tags": {"field": "classes", "columns": ["tags"]},
        "n": {"field": "number", "column": "n"},
    }
    found = read(tmp_path, WEBDATASET, targets=targets)
    assert found.files == [f"{number:06d}.jpg" for number in range(5)]
    assert found.images == [b"0", b"1", b"2", b"3", b"4"]
    assert found.cells == {"cls": [0, 1, 0, 1, 0], "tags": [["a"]] * 5, "n": [0, 1, 2, 3, 4]}
    assert found.splits == ["train"] * 4 + ["val"]


def test_one_archive_with_samples_that_lack_something(tmp_path: Path) -> None:
    files = samples(0, 1) | {"a.png": b"a", "a.cls": b"cat", "b.cls": b"cat", "c.png": b"c", "c.json": b"[1]"}
    path = tmp_path / "a.tar"
    path.write_bytes(tar_bytes(files | {"d.png": b"d", "d.json": b"[" * 100_000, "../e.png": b"e"}))
    found = read(path, WEBDATASET, targets=CLS)
    assert told(found) == [
        ("c.png", "malformed row"),
        ("d.png", "malformed row"),
        ("../e.png", "unsafe path"),
    ]
    assert found.cells["cls"] == ["0", "cat", None, None, None]
    assert left_out(path, WEBDATASET, targets=CLS) == {"samples without an image": 1}


def test_a_column_that_no_sample_has(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.tar": tar_bytes(samples(0))})
    with (
        pytest.raises(DataError, match=r"no column 'label' .*; known: cls, n, tags"),
        open_source(data_params(source=WEBDATASET), tmp_path),
    ):
        pass
