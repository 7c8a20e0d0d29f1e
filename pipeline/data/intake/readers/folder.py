"""A folder a class, perhaps below train, val and test."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from pipeline.data.intake.readers.listed import ListedRow, listed_source
from pipeline.data.intake.source import CLASSES, Source
from pipeline.data.intake.sources.folder import FolderSource
from pipeline.data.intake.trees.blob import RefusedBlob, printable_name
from pipeline.data.intake.trees.names import may_be_image, split_of, suffix_of
from pipeline.data.intake.trees.tree import Tree, open_tree
from pipeline.errors import DataError, listed

NO_CLASS = ("no class", "the image lies in no folder of a class; move it into one")


def open_folder(path: Path, columns: Sequence[str], scratch: Path) -> Source:
    """Every file below a class's folder is an image of that class, however deep it lies.

    Raises DataError: nothing at the path, no image, folders of which some are splits and others are not.
    """
    tree = open_tree(path, scratch)
    images = [name for name in tree.files if may_be_image(name)]
    others = [name for name in tree.files if not may_be_image(name) and name != CLASSES]
    above = _wrapper(images)
    splits = _splits(tree.name, [name.removeprefix(above) for name in images])
    left_out = Counter(dict(tree.left_out))
    left_out.update(_reason(name) for name in others)
    rows = _rows(tree, images, above, splits, columns)
    return listed_source(tree, rows, FolderSource.fixed, columns, dict(left_out))


def _reason(name: str) -> str:
    return f"files of kind {printable_name(suffix_of(name))}"


def _wrapper(images: Sequence[str]) -> str:
    """The folders that hold everything, as archives mostly have one: "photos/" or "a/photos/"."""
    above = ""
    while True:
        tops = {name.removeprefix(above).split("/")[0] for name in images}
        inner = [name.removeprefix(above) for name in images]
        if len(tops) != 1 or split_of(top := tops.pop()) or not all(name.count("/") >= 2 for name in inner):
            return above
        above += f"{top}/"


def _splits(name: str, images: Iterable[str]) -> dict[str, str]:
    """The split of each folder at the top, if these are splits and not classes.

    Raises DataError if some are, or two are the same.
    """
    tops = sorted({image.split("/")[0] for image in images if "/" in image})
    named = {top: split for top in tops if (split := split_of(top))}
    others = [printable_name(top) for top in tops if top not in named]
    if not named or (len(named) == 1 and others):
        return {}
    if others:
        raise DataError(
            f"source {name!r}: folders {', '.join(named)} are splits, but {listed(others, 3)} is none; move "
            "it elsewhere, or into one of them"
        )
    twice = [split for split, count in Counter(named.values()).items() if count > 1]
    if twice:
        raise DataError(
            f"source {name!r}: folders {', '.join(named)} hold split {twice[0]!r} twice; put them together"
        )
    return named


def _rows(
    tree: Tree, images: Iterable[str], above: str, splits: dict[str, str], columns: Sequence[str]
) -> Iterator[ListedRow]:
    for name in images:
        *folders, _ = name.removeprefix(above).split("/")
        split = splits[folders.pop(0)] if splits and folders else "train"
        cells = {"label": folders[0] if folders else None, "folder": "/".join(folders)}
        image = tree.files[name] if folders else RefusedBlob(*NO_CLASS)
        yield ListedRow(name, 0, split, image, tuple(cells[column] for column in columns))
