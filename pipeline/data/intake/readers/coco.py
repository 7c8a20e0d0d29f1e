"""COCO: one JSON file of boxes for all images of a split."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.data.intake.boxes.box import BoundingBox, box_cells
from pipeline.data.intake.readers.records import SampleRecord, recorded_source
from pipeline.data.intake.source import Source
from pipeline.data.intake.tables.images import NamedImages
from pipeline.data.intake.tables.json_rows import parsed_json
from pipeline.data.intake.trees.blob import RefusedBlob
from pipeline.data.intake.trees.names import may_be_image, split_in
from pipeline.data.intake.trees.tree import Tree, open_tree
from pipeline.errors import DataError

INSTANCES = "instances"
KEYS = ("images", "annotations", "categories")


def open_coco(path: Path, columns: Sequence[str], scratch: Path) -> Source:
    """A row for each image that the JSON files list, whose names or folders say their splits.

    Raises DataError: nothing at the path, no JSON file, one that is no COCO.
    """
    tree = open_tree(path, scratch)
    files = [name for name in tree.files if name.lower().endswith(".json")]
    instances = [name for name in files if PurePosixPath(name).name.startswith(INSTANCES)]
    if not files:
        raise DataError(f"source {tree.name!r} has no JSON file of annotations; look at data.source.path")
    named: set[str] = set()
    records = [record for name in instances or files for record in _records(tree, name, named)]
    unnamed = sum(may_be_image(name) and name not in named for name in tree.files)
    return recorded_source(
        tree, records, columns, {"images that no annotation names": unnamed} if unnamed else {}
    )


def _records(tree: Tree, file: str, named: set[str]) -> Iterator[SampleRecord]:
    shown = tree.shown(file)
    found = parsed_json(tree.local(file), shown)
    if not isinstance(found, dict) or not all(isinstance(found.get(key), list) for key in KEYS):
        raise DataError(f"{shown}: no COCO annotations: it must be an object with lists {', '.join(KEYS)}")
    try:
        names = {each["id"]: str(each["name"]) for each in found["categories"]}
        boxes = _boxes(found["annotations"], names)
        listed = [(each["id"], str(each["file_name"])) for each in found["images"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{shown}: an entry lacks or mistakes a key ({error!r}); mend it") from error
    classes = sorted(set(names.values()))
    folder = str(PurePosixPath(file).parent)
    images = NamedImages(tree, list(dict.fromkeys([folder, ".", "images"])), named)
    for number, name in listed:
        inner, image = images.find(name)
        if isinstance(image, RefusedBlob):
            yield SampleRecord(inner or name, split_in(file) or "train", image, {})
        else:
            yield SampleRecord(inner, split_in(file) or "train", image, box_cells(boxes[number], classes))


def _boxes(annotations: Sequence[Any], names: dict[Any, str]) -> defaultdict[Any, list[BoundingBox]]:
    """Boxes by number of the image. Raises KeyError, TypeError or ValueError for what is none."""
    boxes: defaultdict[Any, list[BoundingBox]] = defaultdict(list)
    for each in annotations:
        _, _, width, height = (float(side) for side in each["bbox"])
        boxes[each["image_id"]].append(
            BoundingBox(names[each["category_id"]], max(0.0, width) * max(0.0, height))
        )
    return boxes
