"""Annotations of boxes: what a picture shows, in VOC, COCO and YOLO."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.source_samples import (
    left_out,
    read,
    told,
    voc_xml,
    write_files,
    write_zip,
)

TARGETS = {
    "label": {"field": "classes", "columns": ["classes"]},
    "largest": {"field": "class", "column": "largest"},
    "count": {"field": "number", "column": "count"},
    "cats": {"field": "number", "column": "count_cat"},
}
BOXES: dict[str, list[tuple[str, int, int, int, int]]] = {
    "a": [("cat", 0, 0, 2, 2), ("dog", 0, 0, 4, 4), ("cat", 1, 1, 1, 3)],
    "b": [],
    "c": [("cat", 5, 5, 5, 5)],
}
IMAGES = {name: name.encode() for name in BOXES}
CELLS = {
    "classes": [["cat", "dog"], [], ["cat"]],
    "largest": ["dog", None, "cat"],
    "count": [3, 0, 1],
    "count_cat": [2, 0, 1],
}


def voc(top: str = "VOC/") -> dict[str, bytes]:
    files = {f"{top}JPEGImages/{name}.JPG": data for name, data in IMAGES.items()}
    return files | {f"{top}Annotations/{name}.xml": voc_xml(boxes) for name, boxes in BOXES.items()}


def yolo() -> dict[str, bytes]:
    """b has no file of its own, and one of a's boxes is an outline."""
    return {f"images/{name}.jpg": data for name, data in IMAGES.items()} | {
        "data.yaml": b"names: {0: cat, 1: dog}\nnc: 2\n",
        "labels/a.txt": b"0 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.4 0.4\n0 0.1 0.1 0.2 0.1 0.2 0.2\n\n",
        "labels/c.txt": b"0 0.5 0.5 0 0\n",
    }


def coco_json() -> dict[str, Any]:
    numbers = {name: number for number, name in enumerate(BOXES, start=7)}
    return {
        "images": [{"id": numbers[name], "file_name": f"{name}.jpg"} for name in BOXES],
        "categories": [{"id": 3, "name": "dog"}, {"id": 9, "name": "cat"}],
        "annotations": [
            {
                "image_id": numbers[name],
                "category_id": {"dog": 3, "cat": 9}[label],
                "bbox": [x, y, right - x, bottom - y],
            }
            for name, boxes in BOXES.items()
            for label, x, y, right, bottom in boxes
        ],
    }


def coco() -> dict[str, bytes]:
    files = {f"train2017/{name}.jpg": data for name, data in IMAGES.items()}
    return files | {"annotations/instances_train2017.json": json.dumps(coco_json()).encode()}


@pytest.mark.parametrize(("kind", "files"), [("voc", voc), ("yolo", yolo), ("coco", coco)])
@pytest.mark.parametrize("packed", [False, True])
def test_boxes_become_cells(
    tmp_path: Path, kind: str, files: Callable[[], dict[str, bytes]], packed: bool
) -> None:
    path = write_zip(tmp_path / "a.zip", files()) if packed else write_files(tmp_path, files())
    found = read(path, {"kind": kind, "path": "x"}, targets=TARGETS)
    assert found.images == [b"a", b"b", b"c"]
    assert found.cells == CELLS
    assert {*found.splits} == {"train"}


def test_splits_of_voc_are_listed(tmp_path: Path) -> None:
    lists = {"train": b"a\n", "val": b"c  1\n", "trainval": b"a\nc\n"}
    files = voc("BCCD/") | {f"BCCD/ImageSets/Main/{name}.txt": text for name, text in lists.items()}
    source = {"kind": "voc", "path": "x"}
    found = read(write_files(tmp_path, files), source, targets=TARGETS)
    assert (found.images, found.splits) == ([b"a", b"c"], ["train", "val"])
    assert left_out(tmp_path, source, targets=TARGETS) == {"images in no list of splits": 1}


def test_splits_are_folders(tmp_path: Path) -> None:
    files = {f"{split}/{name}": data for split in ("train", "valid") for name, data in voc("").items()}
    found = read(write_files(tmp_path / "voc", files), {"kind": "voc", "path": "x"}, targets=TARGETS)
    assert found.splits == ["train"] * 3 + ["val"] * 3
    files = {f"images/{split}/a.png": b"a" for split in ("train", "val")}
    files |= {f"labels/{split}/a.txt": b"0 0 0 1 1" for split in ("train", "val")} | {
        "classes.txt": b"cat\n\n"
    }
    found = read(write_files(tmp_path / "yolo", files), {"kind": "yolo", "path": "x"}, targets=TARGETS)
    assert (found.splits, found.cells["count"]) == (["train", "val"], [1, 1])
    for split in ("train", "test"):
        files = {f"{split}/{name}.jpg": data for name, data in IMAGES.items()}
        files[f"{split}/_annotations.coco.json"] = json.dumps(coco_json()).encode()
        write_files(tmp_path / "coco", files)
    found = read(tmp_path / "coco", {"kind": "coco", "path": "x"}, targets=TARGETS)
    assert found.splits == ["train"] * 3 + ["test"] * 3


LAUGHS = b"""<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]><annotation>&y;</annotation>"""
OUTSIDE = b"""<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>"""


def test_images_of_coco_that_are_not_there(tmp_path: Path) -> None:
    listed = coco_json()
    for number, name in enumerate(["none.jpg", "../../etc/passwd", "/etc/passwd", "a.jpg"]):
        listed["images"].append({"id": number, "file_name": name})
    files = coco() | {"annotations/instances_train2017.json": json.dumps(listed).encode()}
    found = read(
        write_files(tmp_path, files | {"more.png": b""}), {"kind": "coco", "path": "x"}, targets=TARGETS
    )
    assert told(found) == [
        ("none.jpg", "missing file"),
        ("../../etc/passwd", "unsafe path"),
        ("/etc/passwd", "unsafe path"),
        ("train2017/a.jpg", "file named twice"),
    ]
    left = left_out(tmp_path, {"kind": "coco", "path": "x"}, targets=TARGETS)
    assert left == {"images that no annotation names": 1}
