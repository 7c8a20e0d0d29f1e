"""Pascal VOC: an XML file of boxes for each image."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

from pipeline.data.intake.boxes.box import BoundingBox, box_cells
from pipeline.data.intake.boxes.pairs import folder_split, pair_key
from pipeline.data.intake.boxes.xml import parsed_xml
from pipeline.data.intake.readers.records import SampleRecord, recorded_source
from pipeline.data.intake.source import SPLITS, Source
from pipeline.data.intake.trees.blob import Blob, RefusedBlob, content
from pipeline.data.intake.trees.names import IMAGES, suffix_of
from pipeline.data.intake.trees.tree import Tree, open_tree
from pipeline.errors import DataError
from pipeline.images.defect import Defect

SPLIT_LISTS = "ImageSets/Main/"
"""Folder whose train.txt, val.txt and test.txt name the images of each split."""
UNLISTED = "images in no list of splits"


def open_voc(path: Path, columns: Sequence[str], scratch: Path) -> Source:
    """A row for each image, with what its XML file of the same name says.

    Splits are those of ImageSets/Main, or else the folders'. Raises DataError: nothing at the path, no XML.
    """
    tree = open_tree(path, scratch)
    texts = {pair_key(name): name for name in tree.files if name.lower().endswith(".xml")}
    if not texts:
        raise DataError(f"source {tree.name!r} has no XML file of annotations; look at data.source.path")
    boxes = {key: _boxes(tree.files[name]) for key, name in texts.items()}
    images = {pair_key(name): name for name in tree.files if suffix_of(name) in IMAGES}
    splits = _listed_splits(tree)
    records = list(_records(tree, images, boxes, splits))
    alone = RefusedBlob("missing file", "no image has the name of this annotation")
    records += [SampleRecord(texts[key], "train", alone, {}) for key in boxes.keys() - images.keys()]
    unlisted = sum(_stem(key) not in splits for key in images) if splits else 0
    records.sort(key=lambda record: record.file)
    return recorded_source(tree, records, columns, {UNLISTED: unlisted} if unlisted else {})


def _records(
    tree: Tree,
    images: Mapping[str, str],
    boxes: Mapping[str, list[BoundingBox] | Defect],
    splits: Mapping[str, str],
) -> Iterator[SampleRecord]:
    found = [each for each in boxes.values() if not isinstance(each, Defect)]
    classes = sorted({box.label for each in found for box in each})
    for key, name in images.items():
        if splits and _stem(key) not in splits:
            continue
        split = splits.get(_stem(key)) or folder_split(name)
        own = boxes.get(key, Defect("no annotation", "no XML file has the image's name"))
        if isinstance(own, Defect):
            yield SampleRecord(name, split, RefusedBlob(own.reason, own.detail), {})
        else:
            yield SampleRecord(name, split, tree.files[name], box_cells(own, classes))


def _listed_splits(tree: Tree) -> dict[str, str]:
    """The split of each image that a list names, by its name without folders and suffix."""
    splits: dict[str, str] = {}
    for split in SPLITS:
        for name in tree.files:
            if f"/{name}".endswith(f"/{SPLIT_LISTS}{split}.txt"):
                for line in content(tree.files[name]).decode(errors="replace").splitlines():
                    splits |= {word: split for word in line.split()[:1]}
    return splits


def _stem(key: str) -> str:
    return key.rsplit("/", maxsplit=1)[-1]


def _boxes(blob: Blob) -> list[BoundingBox] | Defect:
    try:
        root = parsed_xml(content(blob))
        if root.tag != "annotation":
            return Defect("malformed annotation", f"XML of {root.tag[:100]!r}, not of 'annotation'")
        return [_box(each) for each in root.iter("object")]
    except Defect as defect:
        return Defect(defect.reason, defect.detail)
    except ValueError as error:
        return Defect("malformed annotation", f"a box without name or numbers ({error})")


def _box(element: Element) -> BoundingBox:
    """Raises ValueError for a box that lacks something."""
    name = (element.findtext("name") or "").strip()
    if not name:
        raise ValueError("no name")
    left, top, right, bottom = (
        float(element.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax")
    )
    return BoundingBox(name, max(0.0, right - left) * max(0.0, bottom - top))
