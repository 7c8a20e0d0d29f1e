"""Zip and tar archives in place of a folder: the same files, and none that leads out or fills the memory."""

import gzip
import struct
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.errors import DataError
from tests.support.data_samples import data_params, png
from tests.support.source_samples import (
    FOLDER,
    classes_of_pngs,
    left_out,
    read,
    special,
    tar_bytes,
    told,
    write_files,
    write_zip,
)

FILES = classes_of_pngs(4)
PARAMS = data_params(source=FOLDER)


@pytest.mark.parametrize("name", ["a.zip", "b.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.zst"])
def test_the_same_rows_as_of_a_folder(tmp_path: Path, name: str) -> None:
    backwards = dict(reversed(FILES.items()))
    path = tmp_path / name
    if path.suffix == ".zip":
        write_zip(path, backwards, zipfile.ZIP_STORED if name == "b.zip" else zipfile.ZIP_DEFLATED)
    else:
        data = tar_bytes(backwards)
        path.write_bytes(
            pa.compress(data, "zstd", asbytes=True)
            if name.endswith("zst")
            else gzip.compress(data)
            if name.endswith("gz")
            else data
        )
    found = read(path)
    assert found == read(write_files(tmp_path / "folder", FILES))
    assert found.images == [FILES[file] for file in found.files]


def test_members_of_a_tar_that_nobody_may_read(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(
        tar_bytes(
            FILES
            | {
                "cat/same.png": special(tarfile.LNKTYPE, "dog/1.png"),
                "cat/soft.png": special(tarfile.SYMTYPE, "../../etc/passwd"),
                "cat/hard.png": special(tarfile.LNKTYPE, "/etc/passwd"),
                "cat/null.png": special(tarfile.CHRTYPE),
                "cat/fifo.png": special(tarfile.FIFOTYPE),
                "../cat/up.png": png(7),
                "/etc/cat/root.png": png(7),
                "C:\\cat\\drive.png": png(7),
                "cat/../../over.png": png(7),
                "cat/./9.png": png(9),
                "__MACOSX/cat/x.png": png(7),
            }
        )
    )
    found = read(path)
    assert told(found) == [
        ("cat/fifo.png", "not a regular file"),
        ("cat/hard.png", "link in an archive"),
        ("cat/null.png", "not a regular file"),
        ("cat/soft.png", "link in an archive"),
        ("../cat/up.png", "unsafe path"),
        ("/etc/cat/root.png", "unsafe path"),
        ("C:\\cat\\drive.png", "unsafe path"),
        ("cat/../../over.png", "unsafe path"),
    ]
    assert dict(zip(found.files, found.images, strict=True))["cat/same.png"] == png(1)
    assert "cat/9.png" in found.files
    assert left_out(path) == {"hidden or system files": 1}


CRC, PACKED, SIZE = 16, 20, 24
"""Places in a zip archive's directory of what it says of a member."""


def patched(path: Path, name: str, place: int, value: int) -> Path:
    """Let a zip archive's directory say something else of a member."""
    data = bytearray(path.read_bytes())
    entry = data.rindex(name.encode()) - 46
    data[entry + place : entry + place + 4] = struct.pack("<I", value)
    path.write_bytes(data)
    return path


def test_members_of_a_zip_that_nobody_may_read(tmp_path: Path) -> None:
    link, packed, fifo = (zipfile.ZipInfo(f"cat/{name}.png") for name in ("link", "lzma", "fifo"))
    link.external_attr, fifo.external_attr = 0o120777 << 16, 0o010644 << 16
    packed.compress_type = zipfile.ZIP_LZMA
    path = write_zip(tmp_path / "a.zip", FILES | {"../cat/up.png": b"", "cat/nul_.png": b""})
    with zipfile.ZipFile(path, "a") as archive:
        for info in (link, packed, fifo):
            archive.writestr(info, b"1234")
    patched(path, "cat/0.png", SIZE, 1 << 30)
    patched(path, "dog/1.png", SIZE, 5)
    patched(path, "cat/2.png", CRC, 5)
    path.write_bytes(path.read_bytes().replace(b"cat/nul_.png", b"cat/nul\0.png"))
    assert told(read(path)) == [
        ("cat/0.png", "decompression bomb"),
        ("cat/2.png", "damaged member"),
        ("cat/fifo.png", "not a regular file"),
        ("cat/link.png", "link in an archive"),
        ("cat/lzma.png", "unknown compression"),
        ("dog/1.png", "decompression bomb"),
        ("../cat/up.png", "unsafe path"),
        ("cat/nul\ufffd.png", "unsafe path"),
    ]


def test_a_name_of_a_zip_that_does_not_say_it_is_utf8(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", {"caf_/1.png": b"1", "dog/2.png": b"2"})
    path.write_bytes(path.read_bytes().replace(b"caf_/", "é/".encode() + b"x/"))
    assert read(path).cells["label"] == ["dog", "é"]


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    path = patched(write_zip(tmp_path / "a.zip", FILES), "cat/0.png", PACKED, 1000)
    with pytest.raises(DataError, match="members of the archive overlap, as in a decompression bomb"):
        read(path)
