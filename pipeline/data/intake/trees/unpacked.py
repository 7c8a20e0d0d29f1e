"""Compressed files as a whole: what random access needs of them is decompressed into a scratch folder."""

import tempfile
from pathlib import Path, PurePosixPath

import pyarrow as pa

from pipeline.data.intake.trees.blob import CHUNK_BYTES
from pipeline.data.intake.trees.zip import is_bomb
from pipeline.errors import DataError

STARTS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
SUFFIXES = {".gz": "", ".zst": "", ".zstd": "", ".tgz": ".tar", ".tzst": ".tar"}
"""Suffixes of compressed files, with what is left of them."""


def compression_of(start: bytes) -> str | None:
    """What a file is compressed with, by its first bytes."""
    return next((kind for magic, kind in STARTS.items() if start.startswith(magic)), None)


def without_suffix(name: str) -> str:
    """The name of what is in a compressed file."""
    suffix = PurePosixPath(name).suffix
    return name.removesuffix(suffix) + SUFFIXES[suffix.lower()] if suffix.lower() in SUFFIXES else name


def unpack(path: Path, compression: str, scratch: Path) -> Path:
    """The decompressed file, below `scratch`. Raises DataError if it is damaged or a decompression bomb."""
    packed, size = path.stat().st_size, 0
    with tempfile.NamedTemporaryFile(dir=scratch, delete=False) as plain:
        try:
            with pa.input_stream(str(path), compression=compression) as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    size += len(chunk)
                    if is_bomb(size, packed):
                        raise DataError(
                            f"{path}: a decompression bomb, {packed} bytes of which become more than {size}"
                        )
                    plain.write(chunk)
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{path}: cannot be decompressed ({' '.join(str(error).split())}); get it again"
            ) from error
        return Path(plain.name)
