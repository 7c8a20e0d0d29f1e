"""Zip archives, read in place."""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pipeline.data.intake.trees.blob import CHUNK_BYTES, Blob, RefusedBlob, printable_name, slices
from pipeline.errors import DataError
from pipeline.images.defect import Defect

ZIP_START = (b"PK\x03\x04", b"PK\x05\x06")
LOCAL_HEADER_BYTES = 30
"""Length of a member's header before its name and extra field, whose lengths stand at its end."""
DAMAGES = (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, IndexError, OverflowError)
"""What zipfile raises for a directory of members that makes no sense."""
ENCRYPTED = 1
UTF8_NAME = 0x800
BOMB_BYTES = 64 << 20
BOMB_RATIO = 200
"""A file that is this many times larger than what it was compressed to, and larger than BOMB_BYTES, is none
that a camera or a person made.
"""


@dataclass(frozen=True)
class ZipBlob:
    """A member. offset: of its header. packed: bytes in the archive."""

    path: str
    offset: int
    packed: int
    size: int
    method: int
    crc: int

    def chunks(self) -> Iterator[bytes]:
        if is_bomb(self.size, self.packed):
            raise Defect("decompression bomb", f"{self.packed} bytes would become {self.size}")
        header = b"".join(slices(self.path, self.offset, LOCAL_HEADER_BYTES))
        if not header.startswith(ZIP_START):
            raise Defect("damaged member", "its header is not where the archive says")
        lengths = int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
        packed = slices(self.path, self.offset + LOCAL_HEADER_BYTES + lengths, self.packed)
        size = crc = 0
        for chunk in packed if self.method == zipfile.ZIP_STORED else _inflated(packed):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
            if size > self.size:
                raise Defect("decompression bomb", f"more than the {self.size} bytes that the archive says")
            yield chunk
        if (size, crc) != (self.size, self.crc):
            raise Defect("damaged member", "its bytes are not those that were packed")


def zip_members(path: Path) -> Iterator[tuple[str, Blob]]:
    """Names and contents. Raises DataError for an archive that is damaged, or whose members overlap."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except DAMAGES as error:
        raise DataError(f"{path}: a damaged zip archive ({error}); get it again") from error
    ends = sorted((info.header_offset, info.compress_size) for info in infos)
    if any(offset + packed > following for (offset, packed), (following, _) in pairwise(ends)):
        raise DataError(f"{path}: members of the archive overlap, as in a decompression bomb; get it again")
    for info in infos:
        if not _name(info).endswith("/"):
            yield _name(info), _blob(path, info)


def is_bomb(size: int, packed: int) -> bool:
    return size > BOMB_BYTES and size > BOMB_RATIO * packed


def _blob(path: Path, info: zipfile.ZipInfo) -> Blob:
    kind = stat.S_IFMT(info.external_attr >> 16)
    name = printable_name(_name(info))
    if kind == stat.S_IFLNK:
        return RefusedBlob("link in an archive", f"{name} is a link; pack the file itself")
    if kind not in (0, stat.S_IFREG):
        return RefusedBlob("not a regular file", f"{name} is a pipe or a device")
    if info.flag_bits & ENCRYPTED:
        return RefusedBlob("encrypted member", f"{name} needs a password; pack it without")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return RefusedBlob("unknown compression", f"{name} is neither stored nor deflated; pack it so")
    return ZipBlob(
        str(path.resolve()),
        info.header_offset,
        info.compress_size,
        info.file_size,
        info.compress_type,
        info.CRC,
    )


def _name(info: zipfile.ZipInfo) -> str:
    """The whole name, also after a NUL; many writers give UTF-8 without saying so."""
    name = info.orig_filename
    if info.flag_bits & UTF8_NAME:
        return name
    try:
        return name.encode("cp437").decode()
    except UnicodeError:
        return name


def _inflated(packed: Iterator[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        for chunk in packed:
            waiting = chunk
            while waiting and not inflater.eof:
                yield inflater.decompress(waiting, CHUNK_BYTES)
                waiting = inflater.unconsumed_tail
        while rest := inflater.decompress(inflater.unconsumed_tail, CHUNK_BYTES):
            yield rest
    except zlib.error as error:
        raise Defect("damaged member", f"cannot be decompressed ({error})") from error
