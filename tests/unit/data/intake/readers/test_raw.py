"""Raw pixels: IDX files and CSV of pixels."""

import gzip
import struct
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.intake.opening import open_source
from pipeline.errors import DataError
from tests.support.data_samples import data_params
from tests.support.source_samples import read, told, write_files, write_zip

IDX = {"kind": "idx", "path": "x"}
PIXEL_CSV: dict[str, Any] = {
    "kind": "pixel_csv",
    "path": "x",
    "table": None,
    "raw_shape": None,
    "split_column": None,
}


def idx(*shape: int, content: bytes, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + content


def mnist(suffix: str = "") -> dict[str, bytes]:
    """Three images of 2 x 2 pixels to train, and one to test."""
    files = {
        f"{split}-images-idx3-ubyte{suffix}": idx(count, 2, 2, content=bytes(range(4 * count)))
        for split, count in (("train", 3), ("t10k", 1))
    } | {
        f"{split}-labels-idx1-ubyte{suffix}": idx(count, content=bytes(range(count)))
        for split, count in (("train", 3), ("t10k", 1))
    }
    return {name: gzip.compress(data) if suffix else data for name, data in files.items()}


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_of_both_splits(tmp_path: Path, suffix: str, packed: bool) -> None:
    path = write_zip(tmp_path / "a.zip", mnist(suffix)) if packed else write_files(tmp_path, mnist(suffix))
    found = read(path, IDX)
    assert found.images == [bytes(range(4)), bytes(range(4, 8)), bytes(range(8, 12)), bytes(range(4))]
    assert (found.cells["label"], found.splits) == ([0, 1, 2, 0], ["train"] * 3 + ["test"])
    assert found.rows == [0, 1, 2, 0]
    with open_source(data_params(source=IDX), path) as source:
        assert source.raw_shape == (2, 2, 1)


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({IMAGES: None}, "has no file of images such as train-images-idx3-ubyte"),
        ({LABELS: None}, f"has no labels beside it; they belong into {LABELS}"),
        ({IMAGES: b"hello"}, "no IDX file of unsigned bytes in 3 or 4 dimensions"),
        ({IMAGES: b""}, "no IDX file of unsigned bytes"),
        ({IMAGES: idx(3, 2, 2, content=b"1234")}, "20 bytes, but its header says 28; get it again"),
        ({IMAGES: idx(2**32 - 1, 2**32 - 1, 2**32 - 1, content=b"")}, "16 bytes, but its header says"),
        ({IMAGES: idx(3, 2, 2, content=bytes(12), kind=13)}, "no IDX file of unsigned bytes"),
        ({IMAGES: idx(3, 2, 2, 5, content=bytes(60))}, "images of 2 x 2 x 5, which are none"),
        ({IMAGES: idx(3, 0, 2, content=b"")}, "images of 0 x 2 x 1, which are none"),
        ({LABELS: idx(2, content=b"12")}, "3 images, but 2 labels; get both again"),
        ({LABELS: idx(3, 1, content=b"123")}, "no IDX file of unsigned bytes in 1 dimensions"),
        ({"t10k-images-idx3-ubyte": idx(1, 1, 4, content=bytes(4))}, "images of several sizes"),
    ],
)
def test_idx_files_that_are_refused(tmp_path: Path, changes: dict[str, bytes | None], message: str) -> None:
    files = (
        mnist()
        if len(changes) == 1 and "t10k-images-idx3-ubyte" in changes
        else {name: data for name, data in mnist().items() if name.startswith("train")}
    )
    merged = {name: data for name, data in (files | changes).items() if data is not None}
    with pytest.raises(DataError, match=message):
        read(write_files(tmp_path, merged), IDX)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("label,pixel0,pixel1,pixel2,pixel3\n1,0,1,2,255\n0,3,4,5,6\n", "label"),
        ("label,1x1,1x2,2x1,2x2\n1,0,1,2,255\n0,3,4,5,6\n", "label"),
        ("1,0,1,2,255\n0,3,4,5,6\n", "label"),
        ("0;1;2;3;digit\n0;1;2;255;1\n3;4;5;6;0\n\n", "digit"),
        ("emotion,pixels,Usage\n1,0 1 2 255,Training\n0,3 4 5 6,Training\n", "emotion"),
        ("label,pixel0,pixel1,pixel2,pixel3\n1,0.0,1.0,2,255\n0,3,4,5,6\n", "label"),
    ],
)
def test_pixels_in_cells(tmp_path: Path, text: str, column: str) -> None:
    source = PIXEL_CSV | ({"split_column": "Usage"} if "Usage" in text else {})
    targets = {"label": {"field": "class", "column": column}}
    found = read(write_files(tmp_path, {"t.csv": text.encode()}), source, targets=targets)
    assert found.images == [bytes([0, 1, 2, 255]), bytes([3, 4, 5, 6])]
    assert (found.cells[column], found.rows) == ([1, 0], [0, 1])
    with open_source(data_params(source=source, targets=targets), tmp_path) as opened:
        assert opened.raw_shape == (2, 2, 1)


def test_rows_whose_pixels_are_none(tmp_path: Path) -> None:
    lines = ["label,pixel0,pixel1,pixel2,pixel3", "1,0,1,2,3", "1,0,1,2", "0,256,0,0,0", "0,-1,0,0,0"]
    lines += ["0,,0,0,0", "0,0.5,0,0,0", "0,inf,0,0,0", "0,x,0,0,0", "0,1,2,3,4"]
    found = read(write_files(tmp_path, {"t.csv": "\n".join(lines).encode()}), PIXEL_CSV)
    assert [reason for _, reason in told(found)] == ["malformed row", *["pixel out of range"] * 6]


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        (
            "label,pixel0,pixel1\n1,0,1\n",
            {},
            "t.csv: 2 pixels are no square; say their data.source.raw_shape",
        ),
        ("label,name\n1,a\n", {}, "t.csv: no columns of pixels"),
        ("digit,pixel0\n1,0\n", {}, "t.csv: no column 'label'"),
        ("", {}, "t.csv: no column 'label'"),
    ],
)
def test_tables_of_pixels_that_are_refused(
    tmp_path: Path, text: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        read(write_files(tmp_path, {"t.csv": text.encode()}), PIXEL_CSV | changes)
