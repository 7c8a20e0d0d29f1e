"""A model on disk: model.json and, beside it, weights.safetensors (weights.py) or model.onnx. No torch here.

Formats are safe to parse, but neither notices a flipped bit, so the SHA-256 in model.json is checked
against the bytes before they are parsed, on every load, and the seal of model.json (seal.py) before that.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from pipeline.base.files import atomic_dir, sha256_file
from pipeline.base.records import MEND, SEAL_NAME, Sealed, sealed_json, unsealed
from pipeline.errors import ArtifactError
from pipeline.models.description.spec import FORMAT, ONNX_NAME, ModelSpec, WeightsFile

SPEC_NAME = "model.json"
CURE = f"; {MEND}; if verify finds nothing, `dvc repro -f -s` of the stage that makes it"


def read_spec(folder: Path) -> ModelSpec:
    """model.json alone.

    Raises ArtifactError if it is missing, malformed, not as it was written, or of an unknown format.
    """
    path = folder / SPEC_NAME
    values = _spec_values(path)
    try:
        spec = ModelSpec.model_validate(values)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"])) or "the model"
        raise ArtifactError(f"{path}: {where}: {problem['msg']}{CURE}") from error
    if spec.weights is None:
        raise ArtifactError(f"{path}: names no weights file{CURE}")
    return spec


def save_onnx(
    folder: Path, spec: ModelSpec, source: Path, beside: Mapping[str, str] | None = None
) -> ModelSpec:
    """Write an artifact whose numbers are an ONNX file, a copy of `source`; returns the spec with digest.

    beside: further texts, by name of the file.
    """
    with atomic_dir(folder) as partial:
        path = partial / ONNX_NAME
        shutil.copyfile(source, path)
        weights = WeightsFile(
            kind="onnx", file=ONNX_NAME, sha256=sha256_file(path), size_bytes=path.stat().st_size
        )
        saved = spec.model_copy(update={"weights": weights})
        write_spec(partial, saved)
        for name, text in (beside or {}).items():
            (partial / name).write_text(text, encoding="utf-8")
    return saved


def onnx_path(folder: Path) -> Path:
    """The ONNX file of an artifact, its digest checked. Raises ArtifactError as load_model does."""
    path = folder / ONNX_NAME
    checked_bytes(path, weights_file(folder, read_spec(folder), "onnx"))
    return path


def verified_spec(folder: Path) -> ModelSpec:
    """model.json, once the bytes of the file that it names are compared.

    Raises ArtifactError as load_model does.
    """
    spec = read_spec(folder)
    assert spec.weights is not None, "read_spec() returns specs with weights"
    checked_bytes(folder / spec.weights.file, spec.weights)
    return spec


def exported_onnx(folder: Path, artifact: Path, remake: str) -> Path:
    """The ONNX file in `folder`, its bytes compared, and known to be exported from `artifact`.

    Raises ArtifactError that names what does not fit, and `remake`, the stage that exports.
    """
    sealed = Sealed(folder / SEAL_NAME, remake)
    sealed.demand_of(SPEC_NAME, sha256_file(artifact / SPEC_NAME), artifact / SPEC_NAME)
    return sealed.file(ONNX_NAME)


def _spec_values(path: Path) -> dict[str, Any]:
    """What model.json holds, as JSON of this format; a newer format must not fail at its new keys."""
    try:
        content = path.read_bytes()
        found = json.loads(content)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ArtifactError(
            f"{path.parent}: holds no model ({path.name} is missing); make it with `dvc repro`"
        ) from error
    except ValueError as error:  # of json, and of undecodable bytes
        raise ArtifactError(f"{path}: not valid JSON ({error}){CURE}") from error
    number = found.get("format") if isinstance(found, dict) else None
    if number != FORMAT:
        raise ArtifactError(
            f"{path}: format {number!r} is unknown to this version, which reads {FORMAT} alone; make the "
            "model again, with `dvc repro`, or take one that was registered since"
        )
    try:
        return unsealed(content)
    except ValueError as error:
        raise ArtifactError(f"{path}: {error}{CURE}") from error


def write_spec(folder: Path, spec: ModelSpec) -> None:
    (folder / SPEC_NAME).write_text(sealed_json(spec.model_dump(mode="json")), encoding="utf-8")


def weights_file(folder: Path, spec: ModelSpec, kind: Literal["torch", "onnx"]) -> WeightsFile:
    assert spec.weights is not None, "read_spec() returns specs with weights"
    if spec.weights.kind != kind:
        wanted = {"torch": "a torch model", "onnx": "an ONNX graph"}
        raise ArtifactError(f"{folder}: holds {wanted[spec.weights.kind]}, but {wanted[kind]} is needed here")
    return spec.weights


def checked_bytes(path: Path, weights: WeightsFile) -> bytes:
    """The bytes of the weights file, read once: what is checked is what is parsed."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror}){CURE}") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != weights.sha256:
        raise ArtifactError(
            f"{path}: its SHA-256 is {digest}, {SPEC_NAME} says {weights.sha256}: the file is corrupt or was "
            f"edited{CURE}"
        )
    return content
