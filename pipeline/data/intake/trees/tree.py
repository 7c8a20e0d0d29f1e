"""A folder or an archive as one thing: files by name. A reader that takes a Tree reads both."""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pipeline.data.intake.trees.blob import Blob, FileBlob, RefusedBlob, printable_name
from pipeline.data.intake.trees.names import HIDDEN, inner_name, is_hidden
from pipeline.data.intake.trees.tar import is_tar, tar_members
from pipeline.data.intake.trees.unpacked import compression_of, unpack, without_suffix
from pipeline.data.intake.trees.zip import ZIP_START, zip_members
from pipeline.errors import DataError
from pipeline.images.defect import Defect

START_BYTES = 512
OTHER_ARCHIVES = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
}


class Refused(NamedTuple):
    """A file that a tree has and nobody may read, for instance because its name leads out of it."""

    name: str
    defect: Defect


@dataclass(frozen=True)
class Tree:
    """files: by name, "/" between folders, in the order of the names; names that are no UTF-8 hold lone
    surrogates. refused: names as they stand. left_out: files that are no input, counted by reason.
    scratch: folder for what has to be decompressed as a whole, which lives as long as the tree.
    """

    name: str
    scratch: Path
    files: Mapping[str, Blob]
    refused: tuple[Refused, ...]
    left_out: Mapping[str, int]

    def shown(self, name: str) -> str:
        """A file's name for messages; a source that is one file is called like it."""
        return (
            self.name if len(self.files) == 1 and name == self.name else f"{self.name}/{printable_name(name)}"
        )

    def local(self, name: str) -> Path:
        """A file, decompressed, as one on disk that can be read anywhere.

        Raises DataError if it cannot be read.
        """
        try:
            path = _local(self.files[name], self.scratch)
        except Defect as defect:
            raise DataError(f"{self.name}: {defect.reason}: {defect.detail}") from defect
        with path.open("rb") as file:
            kind = compression_of(file.read(4))
        return path if kind is None else unpack(path, kind, self.scratch)


def open_tree(path: Path, scratch: Path) -> Tree:
    """The files below `path`: a folder, a zip or tar archive, or a single file.

    Raises DataError if there is nothing, an archive is damaged or of another kind, OSError.
    """
    name = printable_name(path.resolve().name)
    if path.is_dir():
        return _tree(name, scratch, _walk(path.resolve()))
    if not path.is_file():
        raise DataError(f"data.source.path {str(path)!r} does not exist, or is no file or folder")
    with path.open("rb") as file:
        start = file.read(START_BYTES)
    _refuse_others(path, start)
    if start.startswith(ZIP_START):
        return _tree(name, scratch, zip_members(path))
    if is_tar(start, path.name):
        return _tree(name, scratch, tar_members(path))
    compression = compression_of(start)
    if compression is None:
        return _one_file(name, path.name, path.resolve(), scratch)
    plain, inner = unpack(path, compression, scratch), without_suffix(path.name)
    with plain.open("rb") as file:
        packed = is_tar(file.read(START_BYTES), inner)
    return _tree(name, scratch, tar_members(plain)) if packed else _one_file(name, inner, plain, scratch)


def _refuse_others(path: Path, start: bytes) -> None:
    for magic, kind in OTHER_ARCHIVES.items():
        if start.startswith(magic):
            raise DataError(
                f"{path}: an archive of kind {kind}, which is not read; unpack it, or use zip or tar"
            )


def _one_file(name: str, inner: str, path: Path, scratch: Path) -> Tree:
    return Tree(name, scratch, {inner: FileBlob(str(path.resolve().parent), path.resolve().name)}, (), {})


def _tree(name: str, scratch: Path, members: Iterator[tuple[str, Blob]]) -> Tree:
    """What an archive or a folder names, without what nobody may read and what systems leave."""
    files: dict[str, Blob] = {}
    refused: list[Refused] = []
    left_out: Counter[str] = Counter()
    for member, blob in members:
        try:
            inner = inner_name(member)
        except Defect as defect:
            refused.append(Refused(printable_name(member), defect))
            continue
        if is_hidden(inner) or member.endswith("/"):
            left_out[HIDDEN if is_hidden(inner) else "empty folders"] += 1
            continue
        if inner in files:
            left_out["files replaced by a later one of the same name"] += 1
        files[inner] = blob
    return Tree(name, scratch, {key: files[key] for key in sorted(files)}, tuple(refused), dict(left_out))


def _walk(root: Path) -> Iterator[tuple[str, Blob]]:
    """Files and links of a folder; of a hidden or empty folder only itself. Raises OSError."""
    top = str(root)
    for folder, below, names in os.walk(top, onerror=_raise):
        hidden = [name for name in below if is_hidden(name)]
        below[:] = [name for name in below if name not in hidden]
        links = [name for name in below if Path(folder, name).is_symlink()]
        above = folder.removeprefix(top).removeprefix("/")
        for name in [*names, *links, *hidden]:
            inner = f"{above}/{name}" if above else name
            yield inner, FileBlob(top, inner)
        if not names and not below and not hidden and folder != top:
            yield f"{above}/", RefusedBlob("empty folder", "")


def _raise(error: OSError) -> None:
    raise error


def _local(blob: Blob, scratch: Path) -> Path:
    chunks = blob.chunks()
    if isinstance(blob, FileBlob):
        next(chunks, None)  # whether it may be read
        return Path(blob.root, blob.name)
    with tempfile.NamedTemporaryFile(dir=scratch, delete=False) as file:
        file.writelines(chunks)
        return Path(file.name)
