"""Raw pixels: IDX files and CSV of pixels."""

import gzip
from pathlib import Path

import pytest

from pipeline.data.intake.opening import open_source
from tests.support.data_samples import data_params
from tests.support.source_samples import (
    PIXEL_CSV,
    idx_bytes,
    read,
    write_files,
    write_zip,
)

IDX = {"kind": "idx", "path": "x"}


def mnist(suffix: str = "") -> dict[str, bytes]:
    """Three images of 2 x 2 pixels to train, and one to test."""
    files = {
        f"{split}-images-idx3-ubyte{suffix}": idx_bytes(count, 2, 2, content=bytes(range(4 * count)))
        for split, count in (("train", 3), ("t10k", 1))
    } | {
        f"{split}-labels-idx1-ubyte{suffix}": idx_bytes(count, content=bytes(range(count)))
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
