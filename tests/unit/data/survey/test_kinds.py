"""Annotations of boxes, raw pixels and WebDataset's archives are told apart, and what they are learnt for."""

import gzip
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.survey.boxes import box_target
from pipeline.data.survey.cells import SurveyedRows
from pipeline.data.survey.survey import Survey, survey
from tests.support.data_samples import png
from tests.support.source_samples import tar_bytes, write_files

IMAGES = {f"images/{row}.png": png(row) for row in range(4)}
CATEGORIES = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]


def looked_at(path: Path) -> Survey:
    with survey(path, "x") as found:
        return found


def xml(names: Sequence[str]) -> bytes:
    box = "<bndbox><xmin>0</xmin><ymin>0</ymin><xmax>2</xmax><ymax>2</ymax></bndbox>"
    objects = "".join(f"<object><name>{name}</name>{box}</object>" for name in names)
    return f"<annotation>{objects}</annotation>".encode()


def coco() -> bytes:
    boxes = [{"image_id": row, "category_id": 1 + row % 2, "bbox": [0, 0, 1, 1]} for row in range(4)]
    images = [{"id": row, "file_name": f"{row}.png"} for row in range(4)]
    return json.dumps({"images": images, "annotations": boxes, "categories": CATEGORIES}).encode()


def idx(*shape: int) -> bytes:
    content = bytes(value % 2 for value in range(shape[0] * (16 if len(shape) > 1 else 1)))
    return b"\0\0\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + content


def pixel_csv(rows: int = 4, label: str = "label,") -> bytes:
    header = label + ",".join(f"pixel{place}" for place in range(16))
    lines = [f"{row % 2},"[: len(label)] + ",".join(["7"] * 16) for row in range(rows)]
    return "\n".join([header, *lines, ""]).encode()


@pytest.mark.parametrize(
    ("kind", "files", "column"),
    [
        (
            "voc",
            {f"Annotations/{row}.xml": xml(["cat", "dog"][: 1 + row % 2]) for row in range(4)},
            "classes",
        ),
        ("coco", {"annotations/instances_train.json": coco()}, "largest"),
        (
            "yolo",
            {f"labels/{row}.txt": b"0 0.5 0.5 0.2 0.2\n" for row in range(4)}
            | {"classes.txt": b"cat\ndog\n"},
            "count",
        ),
    ],
)
def test_boxes(kind: str, files: dict[str, bytes], column: str, tmp_path: Path) -> None:
    found = looked_at(write_files(tmp_path / "x", IMAGES | files))
    assert found.source == {"kind": kind, "path": "x"}
    assert found.offer.target is not None
    assert found.offer.target(found.rows)[0] == column
    assert len(found.rows.splits) == 4


def test_what_boxes_are_learnt_as() -> None:
    def column(*classes: list[str]) -> str:
        return box_target(SurveyedRows(["train"] * len(classes), {"classes": list(classes)}, []))[0]

    assert column(["a"], ["b"]) == "largest"
    assert column(["a"], ["a", "b"]) == "classes"
    assert column(["a"], []) == "count"


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_files(suffix: str, tmp_path: Path) -> None:
    files = {
        f"{split}-{what}{suffix}": gzip.compress(data) if suffix else data
        for split, rows in (("train", 6), ("t10k", 2))
        for what, data in (("images-idx3-ubyte", idx(rows, 4, 4)), ("labels-idx1-ubyte", idx(rows)))
    }
    found = looked_at(write_files(tmp_path / "x", files))
    assert found.source == {"kind": "idx", "path": "x"}
    assert found.rows.splits == ["train"] * 6 + ["test"] * 2
    assert found.sample.modes == {"raw grey": 8}


@pytest.mark.parametrize(
    ("files", "changes"),
    [
        ({"a.csv": pixel_csv()}, {}),
        ({"train.csv": pixel_csv(), "test.csv": pixel_csv(2)}, {}),
        ({"train.csv": pixel_csv(), "test.csv": pixel_csv(2, "")}, {"table": "train.csv"}),
        (
            {"a.csv": b"pixels,emotion\n" + b"".join(b"%b,%d\n" % (b"1 " * 48, n) for n in (0, 1))},
            {"raw_shape": [4, 4, 3]},
        ),
    ],
)
def test_pixels_in_cells(files: Mapping[str, bytes], changes: dict[str, Any], tmp_path: Path) -> None:
    found = looked_at(write_files(tmp_path / "x", files))
    source = {"kind": "pixel_csv", "path": "x", "table": None, "raw_shape": None, "split_column": None}
    assert found.source == source | changes
    assert found.sample.sizes[0] == (4, 4)


@pytest.mark.parametrize("in_folder", [True, False])
def test_samples_of_files_of_one_name(in_folder: bool, tmp_path: Path) -> None:
    files = {
        f"{row}.{kind}": data
        for row in range(4)
        for kind, data in (("png", png(row)), ("cls", b"%d" % (row % 2)))
    }
    archive = tmp_path / "x/train-0000.tar"
    archive.parent.mkdir()
    archive.write_bytes(tar_bytes(files))
    found = looked_at(archive.parent if in_folder else archive)
    assert found.source == {"kind": "webdataset", "path": "x"}
    assert found.columns == {"cls": "integers"}
    assert found.rows.cells["cls"] == [0, 1, 0, 1]


def test_folders_of_classes_in_a_tar_stay_folders(tmp_path: Path) -> None:
    files = {f"{'ab'[row % 2]}/{row}.png": png(row) for row in range(4)}
    (tmp_path / "x.tar").write_bytes(tar_bytes(files))
    assert looked_at(tmp_path / "x.tar").source["kind"] == "folder"
