"""manifest.json: what a folder of prepared data holds. Everything that reads prepared data starts here."""

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from pipeline.base.files import write_atomic
from pipeline.base.records import Record, cure, sealed_json, unsealed
from pipeline.data.fields.field import PIXELS, AnyField, TargetField
from pipeline.data.fields.image import ImageField
from pipeline.errors import DataError

MANIFEST = "manifest.json"
REMEDY = cure("prepare")


class ShardInfo(Record):
    """One Arrow file, its name relative to the manifest."""

    file: str = Field(pattern=r"^\w+-\d{5,}\.arrow$")
    rows: int
    sha256: str


class SplitInfo(Record):
    """One split; counts: rows of each group of each target, shards: in the order of the rows.

    images: pixels are final; encoded images become pixels, or random crops, when they are read.
    """

    rows: int
    images: Literal["pixels", "encoded"] = "pixels"
    counts: dict[str, list[int]]
    shards: list[ShardInfo]


class SourceInfo(Record):
    """Where the rows came from: the last part of the path, a digest of the content read, and how many files
    were no rows, by reason.
    """

    name: str
    sha256: str
    left_out: dict[str, int]


class Manifest(Record):
    """fields: the columns of the shards, by name. outcomes: rows accepted as they are, repaired in the copy
    and quarantined, which are all there are. repaired: rows by what was mended, several in some. quarantined:
    rows left out, by reason. duplicates:
    "train/test" counts test images whose pixels stand in train too.
    """

    fields: dict[str, AnyField]
    splits: dict[str, SplitInfo]
    source: SourceInfo
    outcomes: dict[str, int] = Field(default={})
    repaired: dict[str, int] = Field(default={})
    quarantined: dict[str, int]
    duplicates: dict[str, int]

    @property
    def image(self) -> ImageField:
        field = self.fields[PIXELS]
        assert isinstance(field, ImageField), "prepare() gives this name to images alone"
        return field

    @property
    def targets(self) -> dict[str, TargetField]:
        """What a task may be about: all fields but the image."""
        return {name: field for name, field in self.fields.items() if not isinstance(field, ImageField)}


def write_manifest(folder: Path, manifest: Manifest) -> None:
    write_atomic(folder / MANIFEST, sealed_json(manifest.model_dump()))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of prepared data.

    Raises DataError if it is missing, malformed or not as it was written.
    """
    path = folder / MANIFEST
    try:
        return Manifest.model_validate(unsealed(path.read_bytes()))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; run `dvc repro prepare`") from error
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise DataError(f"{path}: {key}: {problem['msg']}; {REMEDY}") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}; {REMEDY}") from error
