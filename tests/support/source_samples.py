"""Folders and archives of small photographs, and what a source makes of them."""

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.data.intake.opening import open_source
from pipeline.data.intake.source import SourceBatch
from pipeline.images.defect import Defect
from tests.support.data_samples import data_params, png, read_source

FOLDER = {"kind": "folder", "path": "x"}
TABLE: dict[str, Any] = {
    "kind": "table",
    "path": "x",
    "table": None,
    "image_column": "file",
    "root": None,
    "split_column": None,
    "list_separator": None,
}
PIXEL_CSV: dict[str, Any] = {
    "kind": "pixel_csv",
    "path": "x",
    "table": None,
    "raw_shape": None,
    "split_column": None,
}
IMAGES = {"a.jpg": b"a", "b.jpg": b"b"}
Boxes = list[tuple[str, int, int, int, int]]
"""Class, left, top, right and bottom of each box."""


def classes_of_pngs(rows: int = 4, below: str = "") -> dict[str, bytes]:
    """Files by name, half of them cats and half dogs."""
    return {f"{below}{('cat', 'dog')[row % 2]}/{row}.png": png(row) for row in range(rows)}


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def zip_bytes(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def write_zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    path.write_bytes(zip_bytes(files, method))
    return path


def tar_bytes(files: Mapping[str, bytes | tarfile.TarInfo]) -> bytes:
    """A tar archive; a TarInfo stands for a member that is no file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = data if isinstance(data, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.name = name
            info.size = len(data) if isinstance(data, bytes) else 0
            archive.addfile(info, io.BytesIO(data) if isinstance(data, bytes) else None)
    return out.getvalue()


def tar_member(kind: bytes, size: int) -> bytes:
    """A header of a tar archive that claims a size, and nothing of what it claims."""
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, size
    return info.tobuf() + bytes(1024)


def special(kind: bytes, link: str = "") -> tarfile.TarInfo:
    """A member of a tar archive that is no file: a link, a device."""
    info = tarfile.TarInfo()
    info.type, info.linkname = kind, link
    return info


def parquet_bytes(columns: Mapping[str, Any]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), out)
    return out.getvalue()


def idx_bytes(*shape: int, content: bytes, kind: int = 8) -> bytes:
    return bytes([0, 0, kind, len(shape)]) + struct.pack(f">{len(shape)}I", *shape) + content


def voc_xml(boxes: Boxes) -> bytes:
    sides = ("xmin", "ymin", "xmax", "ymax")
    objects = "".join(
        f"<object><name>{name}</name><bndbox>"
        + "".join(f"<{side}>{place}</{side}>" for side, place in zip(sides, places, strict=True))
        + "</bndbox></object>"
        for name, *places in boxes
    )
    return f"<annotation>{objects}</annotation>".encode()


def coco_bytes(**changes: list[Any]) -> bytes:
    """A cat in a.jpg, and none in none.jpg."""
    return json.dumps(
        {
            "images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "none.jpg"}],
            "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}],
            "categories": [{"id": 1, "name": "cat"}],
        }
        | changes
    ).encode()


def read(path: Path, source: Mapping[str, Any] = FOLDER, **changes: Any) -> SourceBatch:
    return read_source(data_params(source=dict(source), **changes), path)


def left_out(path: Path, source: Mapping[str, Any] = FOLDER, **changes: Any) -> dict[str, int]:
    with open_source(data_params(source=dict(source), **changes), path) as opened:
        return dict(opened.left_out)


def told(batch: SourceBatch) -> list[tuple[str, str]]:
    """File and reason of each row without an image."""
    rows = zip(batch.files, batch.images, strict=True)
    return [(file, image.reason) for file, image in rows if isinstance(image, Defect)]
