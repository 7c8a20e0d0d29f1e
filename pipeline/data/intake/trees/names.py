"""Names of files: which are a system's own, which lead out of a folder, which say a split."""

import posixpath
import re

from pipeline.data.intake.trees.blob import printable_name
from pipeline.images.defect import Defect

HIDDEN = "hidden or system files"
SYSTEM_NAMES = {
    "__macosx",
    "thumbs.db",
    "ehthumbs.db",
    "desktop.ini",
    "$recycle.bin",
    "system volume information",
    "@eadir",
    "lost+found",
    "icon\r",
}
"""Files and folders that systems leave beside photographs, in lower case."""
NOT_IMAGES = {
    ".cache", ".cfg", ".csv", ".db", ".doc", ".docx", ".html", ".ini", ".json", ".jsonl", ".lnk", ".log",
    ".md", ".names", ".parquet", ".pdf", ".py", ".rst", ".tsv", ".txt", ".url", ".xls", ".xlsx", ".xml",
    ".yaml", ".yml",
}  # fmt: skip
"""Suffixes of what lies beside images on purpose; everything else is tried as an image."""
IMAGES = {
    ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".mpo", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif",
    ".tiff", ".webp",
}  # fmt: skip
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
}
SPLIT_WORD = re.compile(rf"(?<![a-z])({'|'.join(sorted(SPLIT_NAMES, key=len, reverse=True))})(?![a-z])")
"""A split in a name: train.parquet, train-00000-of-00005.parquet, train600.parquet, my_test_1.parquet."""
DRIVE = re.compile(r"^[A-Za-z]:")


def is_hidden(name: str) -> bool:
    """Whether a file, or a folder on the way to it, is hidden or a system's own."""
    return any(_is_system(part) for part in name.split("/"))


def _is_system(part: str) -> bool:
    return part.startswith((".", "~$")) or part.endswith("~") or part.lower() in SYSTEM_NAMES


def suffix_of(name: str) -> str:
    """The last suffix of a file's name, in lower case."""
    return posixpath.splitext(name)[1].lower()


def may_be_image(name: str) -> bool:
    """Whether to try a file as an image, by its suffix: at the top only what says that it is one."""
    suffix = suffix_of(name)
    return suffix not in NOT_IMAGES if "/" in name else suffix in IMAGES


def split_of(word: str) -> str | None:
    """The split that a folder's or a file's name says."""
    return SPLIT_NAMES.get(word.lower())


def split_in(name: str) -> str | None:
    """The split that a word in a file's name says, or else one in its folders' names, inner ones first."""
    for part in reversed(name.lower().split("/")):
        if word := SPLIT_WORD.search(part):
            return SPLIT_NAMES[word[1]]
    return None


def inner_name(text: str, below: str = "") -> str:
    """A path below a root, as an archive or a table names it, in its plain form.

    below: folder that it starts at. Raises Defect if it leads out of the root or is none on this system.
    """
    shown = printable_name(text)
    if "\0" in text:
        raise Defect("unsafe path", f"{shown!r} holds a NUL")
    name = text.replace("\\", "/")
    if name.startswith("/") or DRIVE.match(name):
        raise Defect("unsafe path", f"{shown!r} is absolute; name files below the root")
    parts: list[str] = []
    for part in f"{below}/{name}".split("/"):
        if part == "..":
            if not parts:
                raise Defect("unsafe path", f"{shown!r} leads out of the root")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    if not parts:
        raise Defect("unsafe path", f"{shown!r} names no file")
    return "/".join(parts)
