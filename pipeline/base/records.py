"""Records: JSON files that stages leave, checked when read, and seals, the SHA-256 digests that go with them.

By its seal who reads a file sees damage, exchange and edits by hand. A JSON record carries its own under the
key `seal`. Other files are named by a record beside them, seal.json, which also says of which input they are.
Digests that somebody computes anew are no concern here: that is a forgery, not damage.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.base.files import sha256_file, sha256_json, to_json, write_atomic
from pipeline.errors import ArtifactError

SEAL_NAME = "seal.json"
KEY = "seal"
MEND = "run `espalier verify --mend`, then `dvc repro`"
"""A mere `dvc repro -f -s` gives the damaged bytes again if DVC's cache holds them under this digest."""


class Record(BaseModel):
    """Base of what is written to JSON and read again whole: frozen, strict, no unknown keys, no NaN."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class JsonFile(BaseModel):
    """Base of a JSON file of which only some keys are needed here."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


FileT = TypeVar("FileT", bound=JsonFile)


def read_json(path: Path, model: type[FileT]) -> FileT:
    """Raises ArtifactError for a file that is missing or lacks a key."""
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} does not exist; run `dvc repro`") from error
    except ValidationError as error:
        raise ArtifactError(
            f"{path}: {key_problems(error)}; run `dvc repro -f -s` on the stage that writes it"
        ) from error


def key_problems(error: ValidationError) -> str:
    """Each wrong or missing key, in one line."""
    return "; ".join(f"{'.'.join(map(str, p['loc'])) or 'file'}: {p['msg'].lower()}" for p in error.errors())


def cure(stage: str) -> str:
    """What to do about a damaged file that a stage writes."""
    return f"{MEND}; if verify finds nothing, `dvc repro -f -s {stage}` makes it again"


def sealed_json(record: Mapping[str, Any]) -> str:
    """A record as readable JSON, with the digest of the rest of it under `seal`."""
    values = json.loads(to_json(record))  # keys as a reader will have them
    return to_json(values | {KEY: sha256_json(values)})


def unsealed(content: bytes) -> dict[str, Any]:
    """The record in what sealed_json() wrote.

    Raises ValueError, which says what is wrong, if it is not that any more.
    """
    try:
        values = json.loads(content)
    except ValueError as error:  # of undecodable bytes too
        raise ValueError(f"not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise ValueError("not a record")
    seal = values.pop(KEY, None)
    if seal is None:
        raise ValueError("has no seal")
    if seal != sha256_json(values):
        raise ValueError("its content is not what its seal says: it is damaged or was edited")
    return values


class _Seal(Record):
    """seal.json.

    files: SHA-256 by path below its folder. of: digests of what the files were made from or measured on.
    """

    files: dict[str, str]
    of: dict[str, str]


def write_seal(folder: Path, names: Iterable[str], of: Mapping[str, str]) -> None:
    """Write `folder`/seal.json over files below the folder, named by their relative paths.

    of: digest by name of an input.
    """
    write_atomic(folder / SEAL_NAME, seal_json({name: folder / name for name in names}, of))


def seal_json(files: Mapping[str, Path], of: Mapping[str, str]) -> str:
    """A seal.json over files, by the paths that they will have below its folder."""
    record = _Seal(files={name: sha256_file(path) for name, path in files.items()}, of=dict(of))
    return sealed_json(record.model_dump())


class Sealed:
    """The files that a seal.json names. remake: the stage that writes them, for messages.

    Raises ArtifactError, which names the file and the stage that makes it again, for whatever does not fit.
    """

    def __init__(self, path: Path, remake: str) -> None:
        self._path, self._folder = path, path.parent
        self._cure = f"; {cure(remake)}"
        try:
            self._record = _Seal.model_validate(unsealed(path.read_bytes()))
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read ({error.strerror}){self._cure}") from error
        except ValidationError as error:
            raise ArtifactError(f"{path}: not a seal{self._cure}") from error
        except ValueError as error:
            raise ArtifactError(f"{path}: {error}{self._cure}") from error

    def file(self, name: str) -> Path:
        """The path of a sealed file, its bytes compared with the seal."""
        path = self._folder / name
        try:
            digest = sha256_file(path)
        except OSError as error:
            raise ArtifactError(f"{path}: cannot be read ({error.strerror}){self._cure}") from error
        if digest != self._record.files.get(name):
            raise ArtifactError(
                f"{path}: not what {self._path} sealed: it is damaged, exchanged or edited{self._cure}"
            )
        return path

    def digest(self, name: str) -> str:
        """Digest of a file as it was sealed."""
        if name not in self._record.files:
            raise ArtifactError(f"{self._path}: seals no {name}{self._cure}")
        return self._record.files[name]

    def demand_of(self, what: str, digest: str, place: Path) -> None:
        """Raises ArtifactError unless the files are of `what` with this digest, which is now at `place`."""
        if self._record.of.get(what) != digest:
            raise ArtifactError(f"{self._path}: is of another {what} than {place}{self._cure}")
