"""manifest.json: what a folder of prepared data holds. Everything that reads prepared data starts here."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import DataError
from pipeline.files import to_json, write_atomic

MANIFEST = "manifest.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class ShardInfo(_Record):
    """One Arrow file, its name relative to the manifest."""

    file: str
    rows: int
    sha256: str


class SplitInfo(_Record):
    """One split; class_counts follow the manifest's `classes`, shards the order of the rows."""

    rows: int
    class_counts: list[int]
    shards: list[ShardInfo]


class SourceInfo(_Record):
    """Where the rows came from: the last part of the path, and a digest of the content read."""

    name: str
    sha256: str


class Manifest(_Record):
    """classes: names by label. mean, std: per channel, of train's pixels scaled to 0..1 (std is 1 for a constant channel).
    quarantined: rows left out, by reason. duplicates: "train/test" counts test images whose pixels stand in train too.
    """

    classes: list[str]
    height: int
    width: int
    channels: int
    mean: list[float]
    std: list[float]
    splits: dict[str, SplitInfo]
    source: SourceInfo
    quarantined: dict[str, int]
    duplicates: dict[str, int]


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_atomic(folder / MANIFEST, to_json(manifest.model_dump()))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of prepared data. Raises DataError where it is missing or malformed."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; run `dvc repro prepare`") from error
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise DataError(f"{path}: {key}: {problem['msg']}; run `dvc repro -f -s prepare` to write it again") from error
