"""YOLO: a text file of boxes for each image, a line each."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from pipeline.data.intake.boxes.box import BoundingBox, box_cells
from pipeline.data.intake.boxes.pairs import folder_split, pair_key
from pipeline.data.intake.readers.records import SampleRecord, recorded_source
from pipeline.data.intake.source import Source
from pipeline.data.intake.trees.blob import Blob, RefusedBlob, content
from pipeline.data.intake.trees.names import IMAGES, suffix_of
from pipeline.data.intake.trees.tree import Tree, open_tree
from pipeline.errors import DataError
from pipeline.images.defect import Defect

NAME_FILES = ("classes.txt", "obj.names")
"""Files with a name of a class in each line, where there is no data.yaml."""
MOST_LIST_BYTES = 1 << 20
FEWEST_NUMBERS = 4


def open_yolo(path: Path, columns: Sequence[str], scratch: Path) -> Source:
    """A row for each image, with what its text file of the same name says; an image without one has no box.

    Splits are the folders'. Raises DataError: nothing at the path, no names of classes, no text file.
    """
    tree = open_tree(path, scratch)
    names = _class_names(tree)
    texts = {
        pair_key(name): name for name in tree.files if name.lower().endswith(".txt") and not _is_list(name)
    }
    if not texts:
        raise DataError(f"source {tree.name!r} has no text file of boxes; look at data.source.path")
    images = {pair_key(name): name for name in tree.files if suffix_of(name) in IMAGES}
    records = list(_records(tree, images, texts, names))
    alone = RefusedBlob("missing file", "no image has the name of this text file")
    records += [SampleRecord(texts[key], "train", alone, {}) for key in texts.keys() - images.keys()]
    records.sort(key=lambda record: record.file)
    return recorded_source(tree, records, columns, {})


def _records(
    tree: Tree, images: dict[str, str], texts: dict[str, str], names: Sequence[str]
) -> Iterator[SampleRecord]:
    for key, name in images.items():
        image: Blob = tree.files[name]
        cells: dict[str, Any] = {}
        try:
            boxes = _boxes(tree.files[texts[key]], names) if key in texts else []
            cells = box_cells(boxes, sorted(names))
        except Defect as defect:
            image = RefusedBlob(defect.reason, defect.detail)
        yield SampleRecord(name, folder_split(name), image, cells)


def _boxes(blob: Blob, names: Sequence[str]) -> list[BoundingBox]:
    """Boxes, and outlines as the boxes around them. Raises Defect for a line that is none."""
    boxes = []
    for number, line in enumerate(content(blob).decode(errors="replace").splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            label, sides = int(float(words[0])), [float(word) for word in words[1:]]
        except (ValueError, OverflowError) as error:
            raise Defect("malformed annotation", f"line {number} holds no numbers") from error
        if len(sides) < FEWEST_NUMBERS:
            raise Defect("malformed annotation", f"line {number} has {len(words)} numbers; a box has 5")
        if not 0 <= label < len(names):
            raise Defect("label out of range", f"line {number}: class {label} is not in 0..{len(names) - 1}")
        boxes.append(BoundingBox(names[label], _area(sides)))
    return boxes


def _area(sides: Sequence[float]) -> float:
    """Area of a box (x, y, width, height) or around an outline (x, y, x, y, ...)."""
    if len(sides) <= FEWEST_NUMBERS + 1:  # perhaps with a confidence
        return sides[2] * sides[3]
    across, down = sides[::2], sides[1::2]
    return (max(across) - min(across)) * (max(down) - min(down))


def _is_list(name: str) -> bool:
    base = PurePosixPath(name).name.lower()
    return base in NAME_FILES or base.startswith(("readme", "train.", "val.", "test.", "license"))


def _class_names(tree: Tree) -> list[str]:
    for name in tree.files:
        base = PurePosixPath(name).name.lower()
        if base in NAME_FILES:
            lines = content(tree.files[name], MOST_LIST_BYTES).decode(errors="replace").splitlines()
            return _demand_names(tree, name, [line.strip() for line in lines if line.strip()])
        if base.endswith((".yaml", ".yml")) and (found := _yaml_names(tree, name)) is not None:
            return _demand_names(tree, name, found)
    raise DataError(
        f"source {tree.name!r} has no names of classes: a data.yaml with `names`, or one of "
        f"{', '.join(NAME_FILES)}"
    )


def _yaml_names(tree: Tree, name: str) -> Any:
    try:
        found = yaml.safe_load(content(tree.files[name], MOST_LIST_BYTES))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DataError(f"{tree.shown(name)}: not valid YAML ({' '.join(str(error).split())})") from error
    names = found.get("names") if isinstance(found, dict) else None
    if not isinstance(names, dict):
        return names
    return [names[key] for key in sorted(names)] if all(isinstance(key, int) for key in names) else []


def _demand_names(tree: Tree, name: str, names: Any) -> list[str]:
    if not isinstance(names, list) or not names or len({str(each) for each in names}) != len(names):
        raise DataError(
            f"{tree.shown(name)}: the names of classes must be a list in which each is there once"
        )
    return [str(each) for each in names]
