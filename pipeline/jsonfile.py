"""A JSON file that a stage left, checked while it is read."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import ArtifactError


class JsonFile(BaseModel):
    """A JSON file of which only some keys are needed here."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


FileT = TypeVar("FileT", bound=JsonFile)


def read_json(path: Path, model: type[FileT]) -> FileT:
    """Raises ArtifactError for a file that is missing or lacks a key."""
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} does not exist; run `dvc repro`") from error
    except ValidationError as error:
        raise ArtifactError(f"{path}: {problems(error)}; run `dvc repro -f -s` on the stage that writes it") from error


def problems(error: ValidationError) -> str:
    """Each wrong or missing key, in one line."""
    return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'file'}: {p['msg'].lower()}" for p in error.errors())
