"""Folders and archives of small photographs, and what a source makes of them."""

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.data.intake.opening import open_source
from pipeline.data.intake.source import SourceBatch
from pipeline.images.defect import Defect
from tests.support.data_samples import data_params, png, read_source

FOLDER = {"kind": "folder", "path": "x"}


def classes_of_pngs(rows: int = 4, below: str = "") -> dict[str, bytes]:
    """Files by name, half of them cats and half dogs."""
    return {f"{below}{('cat', 'dog')[row % 2]}/{row}.png": png(row) for row in range(rows)}


def write_files(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def write_zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
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


def read(path: Path, source: Mapping[str, Any] = FOLDER, **changes: Any) -> SourceBatch:
    return read_source(data_params(source=dict(source), **changes), path)


def left_out(path: Path, source: Mapping[str, Any] = FOLDER, **changes: Any) -> dict[str, int]:
    with open_source(data_params(source=dict(source), **changes), path) as opened:
        return dict(opened.left_out)


def told(batch: SourceBatch) -> list[tuple[str, str]]:
    """File and reason of each row without an image."""
    rows = zip(batch.files, batch.images, strict=True)
    return [(file, image.reason) for file, image in rows if isinstance(image, Defect)]
