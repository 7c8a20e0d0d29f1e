"""Bytes of one file, wherever they lie: plain values, so that any process reads them."""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.images.defect import Defect

CHUNK_BYTES = 1 << 20
MOST_FILE_BYTES = 1 << 28
"""Bytes of a file that is read whole: an image, or a label file."""


class Blob(Protocol):
    def chunks(self) -> Iterator[bytes]:
        """Its content. Raises Defect if it cannot be read."""
        ...


def content(blob: Blob, most: int = MOST_FILE_BYTES) -> bytes:
    """All bytes. Raises Defect, also if there are more than `most`."""
    found: list[bytes] = []
    size = 0
    for chunk in blob.chunks():
        size += len(chunk)
        if size > most:
            raise Defect("file too large", f"more than {most} bytes")
        found.append(chunk)
    return found[0] if len(found) == 1 else b"".join(found)


@dataclass(frozen=True)
class FileBlob:
    """A file below a folder. root: the folder's real path. name: none of its folders is a link."""

    root: str
    name: str

    def chunks(self) -> Iterator[bytes]:
        try:
            handle = self._open()
        except FileNotFoundError as error:
            raise Defect("missing file", f"{printable_name(self.name)} is not there") from error
        except OSError as error:
            raise _unreadable(self.name, error) from error
        with os.fdopen(handle, "rb", buffering=0) as file:
            try:
                while chunk := file.read(CHUNK_BYTES):
                    yield chunk
            except OSError as error:
                raise _unreadable(self.name, error) from error

    def _open(self) -> int:
        """A file to read. Raises Defect if it is a pipe or a device, which could block, or lies elsewhere."""
        path = f"{self.root}/{self.name}"
        if os.path.islink(path):  # noqa: PTH114 - a Path for each image costs more than the call
            path = os.path.realpath(path)
            if not path.startswith(self.root.rstrip("/") + "/"):
                raise Defect("link out of the folder", f"{printable_name(self.name)} leads to another folder")
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise Defect("not a regular file", f"{printable_name(self.name)} is a pipe, a device or a folder")
        return handle


@dataclass(frozen=True)
class SliceBlob:
    """Consecutive bytes of a file, as a tar archive stores its members."""

    path: str
    offset: int
    size: int

    def chunks(self) -> Iterator[bytes]:
        return slices(self.path, self.offset, self.size)


@dataclass(frozen=True)
class RefusedBlob:
    """What cannot be read, and why."""

    reason: str
    detail: str

    def chunks(self) -> Iterator[bytes]:
        raise Defect(self.reason, self.detail)


def slices(path: str, offset: int, size: int) -> Iterator[bytes]:
    """Bytes of a file in chunks. Raises Defect if they are not all there."""
    try:
        with Path(path).open("rb") as file:
            file.seek(offset)
            while size > 0:
                chunk = file.read(min(CHUNK_BYTES, size))
                if not chunk:
                    raise Defect("truncated archive", f"{size} bytes of the file are missing")
                size -= len(chunk)
                yield chunk
    except OSError as error:
        raise Defect("unreadable file", f"the archive cannot be read ({error.strerror})") from error


def printable_name(name: str) -> str:
    """A file's name; what is no text, or cannot be seen, becomes the replacement character."""
    if name.isprintable():
        return name
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in name)


def _unreadable(name: str, error: OSError) -> Defect:
    return Defect("unreadable file", f"{printable_name(name)} cannot be read ({error.strerror})")
