"""Finds pickles on disk by their content, whatever their name: bare ones, and those in zip archives, as torch
saves them.
"""

import io
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path

NAMES = {".pkl", ".pickle", ".pt", ".pth", ".pt2", ".joblib", ".npy", ".npz"}
"""Of formats that are, hold, or can hold a pickle."""
PROTOCOL = b"\x80"
"""The first byte of every pickle of protocol 2 and later. Older ones are text, which no format of ours would
hide."""


def pickles(folder: Path) -> list[str]:
    """The files below a folder that are pickles, hold one, or bear a name of such a format,
    relative to it.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [
        path.relative_to(folder).as_posix() for path in files if path.suffix in NAMES or _holds_pickle(path)
    ]


def _holds_pickle(path: Path) -> bool:
    return any(_is_pickle(content) for content in _contents(path.read_bytes()))


def _contents(content: bytes) -> Iterator[bytes]:
    """It, and all that is in it where it is a zip archive: torch puts archives into archives."""
    yield content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield from _contents(archive.read(name))


def _is_pickle(content: bytes) -> bool:
    """Whether its start can be read to the end of a pickle, without running it."""
    if not content.startswith(PROTOCOL):
        return False
    try:
        return any(opcode.name == "STOP" for opcode, _, _ in pickletools.genops(content))
    except ValueError:
        return False
