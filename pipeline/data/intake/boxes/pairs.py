"""Which image an annotation's file is of, by their names."""

from pathlib import PurePosixPath

from pipeline.data.intake.trees.names import split_of

KIND_FOLDERS = {
    "images",
    "labels",
    "jpegimages",
    "annotations",
    "xmls",
    "annotation",
    "image",
    "label",
    "img",
}
"""Folders that keep images and annotations apart, in lower case."""


def pair_key(name: str) -> str:
    """A file's path without suffix and folders of kinds: equal for an image and its annotation."""
    path = PurePosixPath(name)
    folders = [part for part in path.parts[:-1] if part.lower() not in KIND_FOLDERS]
    return "/".join([*folders, path.stem])


def folder_split(name: str) -> str:
    """The split that a folder on the way to a file is, else train."""
    found = [split for part in PurePosixPath(name).parts[:-1] if (split := split_of(part))]
    return found[-1] if found else "train"
