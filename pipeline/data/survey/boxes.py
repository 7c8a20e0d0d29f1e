"""Whether files are annotations of boxes: VOC, COCO or YOLO."""

from pathlib import PurePosixPath

from pipeline.data.intake.boxes.pairs import pair_key
from pipeline.data.intake.boxes.xml import parsed_xml
from pipeline.data.intake.readers.coco import INSTANCES, KEYS
from pipeline.data.intake.readers.yolo import NAME_FILES
from pipeline.data.intake.trees.blob import content
from pipeline.data.intake.trees.names import may_be_image
from pipeline.data.intake.trees.tree import Tree
from pipeline.data.survey.cells import SurveyedRows
from pipeline.data.survey.offer import ColumnChoice, Offer
from pipeline.images.defect import Defect

BOX_COLUMNS = ("classes", "largest", "count")
XML_TRIED = 5
MOST_NAMES_BYTES = 1 << 20


def offer_voc(tree: Tree) -> Offer | None:
    texts = [name for name in tree.files if name.lower().endswith(".xml")][:XML_TRIED]
    if not any(_is_annotation(tree, name) for name in texts):
        return None
    return Offer({"kind": "voc"}, BOX_COLUMNS, "boxes in an XML file for each image", box_target)


def offer_coco(tree: Tree) -> Offer | None:
    """A source if all JSON files are COCO's, or those that are called instances."""
    files = [name for name in tree.files if name.lower().endswith(".json")]
    used = [name for name in files if PurePosixPath(name).name.startswith(INSTANCES)] or files
    if not used or not all(_has_keys(tree, name) for name in used):
        return None
    return Offer({"kind": "coco"}, BOX_COLUMNS, "boxes in COCO's JSON", box_target)


def offer_yolo(tree: Tree) -> Offer | None:
    """A source if there are names of classes, and text files called like images."""
    images = {pair_key(name) for name in tree.files if may_be_image(name)}
    texts = [name for name in tree.files if name.lower().endswith(".txt")]
    if not _names_classes(tree) or not any(pair_key(name) in images for name in texts):
        return None
    return Offer({"kind": "yolo"}, BOX_COLUMNS, "boxes in a text file for each image", box_target)


def box_target(rows: SurveyedRows) -> ColumnChoice:
    """What boxes are learnt as: which classes there are, the only one, or how many boxes."""
    found = [set(cell) for cell in rows.cells["classes"] if cell is not None]
    if len({name for classes in found for name in classes}) < 2:
        return "count", "boxes are of one class, so they are counted"
    if all(len(classes) == 1 for classes in found):
        return "largest", "each image shows one class"
    return "classes", "images show several classes; largest and count are columns too"


def _is_annotation(tree: Tree, name: str) -> bool:
    try:
        return parsed_xml(content(tree.files[name])).tag == "annotation"
    except Defect:
        return False


def _has_keys(tree: Tree, name: str) -> bool:
    data = tree.local(name).read_bytes()
    return all(f'"{key}"'.encode() in data for key in KEYS)


def _names_classes(tree: Tree) -> bool:
    for name in tree.files:
        base = PurePosixPath(name).name.lower()
        if base in NAME_FILES:
            return True
        if base.endswith((".yaml", ".yml")):
            try:
                return b"names:" in content(tree.files[name], MOST_NAMES_BYTES)
            except Defect:
                return False
    return False
