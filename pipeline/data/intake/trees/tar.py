"""Tar archives, read in place."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.data.intake.trees.blob import Blob, RefusedBlob, SliceBlob, printable_name
from pipeline.errors import DataError

MAGIC = b"ustar"
MAGIC_OFFSET = 257
MOST_HEADER_BYTES = 1 << 24
"""Bytes of a header, in which extended ones may claim any size."""


def is_tar(start: bytes, name: str) -> bool:
    """Whether a file is a tar archive, by its first 512 bytes; the oldest kind has no mark."""
    return start[MAGIC_OFFSET:].startswith(MAGIC) or name.lower().endswith(".tar")


def tar_members(path: Path) -> Iterator[tuple[str, Blob]]:
    """Names and contents. Raises DataError for an archive that is damaged."""
    found: dict[str, Blob] = {}
    try:
        with _HeaderFile(path) as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for info in archive:
                if not info.isdir():
                    found[info.name] = _blob(path, info, found)
                    yield info.name, found[info.name]
            file.demand_end(archive.offset)
    except (tarfile.TarError, ValueError, EOFError, OverflowError) as error:
        raise DataError(f"{path}: a damaged tar archive ({error}); get it again") from error


class _HeaderFile(io.FileIO):
    """A tar archive of which headers are read, one at a time."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "rb")
        self._path = path

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MOST_HEADER_BYTES:
            raise DataError(f"{self._path}: a header of {size} bytes, as in a decompression bomb")
        return super().read(size) or b""

    def demand_end(self, offset: int) -> None:
        """Raises DataError unless nothing but zeros follows: tarfile ends at a damaged header, too."""
        self.seek(offset)
        if any(self.read(tarfile.BLOCKSIZE)):
            raise DataError(f"{self._path}: a damaged tar archive (at byte {offset}); get it again")


def _blob(path: Path, info: tarfile.TarInfo, found: dict[str, Blob]) -> Blob:
    name = printable_name(info.name)
    if info.islnk() and info.linkname in found:  # how tar packs a second name of a file
        return found[info.linkname]
    if info.islnk() or info.issym():
        return RefusedBlob("link in an archive", f"{name} is a link; pack the file itself")
    if not info.isreg() or info.sparse is not None:
        return RefusedBlob("not a regular file", f"{name} is a pipe, a device or sparse")
    return SliceBlob(str(path.resolve()), info.offset_data, info.size)
