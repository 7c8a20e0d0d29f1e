"""The unbroken chain from weights to what is registered: artifact -> exported file -> its measurements."""

from collections.abc import Callable
from pathlib import Path

from pipeline.base.files import sha256_file
from pipeline.base.records import SEAL_NAME, Sealed, cure
from pipeline.compare.records import LOSS_NAME, STEPS, VARIANTS
from pipeline.data.prepared.manifest import MANIFEST
from pipeline.errors import ArtifactError
from pipeline.models.description.spec import ONNX_NAME, ModelSpec
from pipeline.models.disk.artifact import SPEC_NAME, verified_spec

MADE_BY = {"dense": "train", "pruned": "prune", "finetuned": "finetune", "quantized": "quantize"}
COMPARED = "reports/seal.json"


def check_chain(place: Callable[[str], Path]) -> None:
    """Compare every file that a registration reads with its digest, and what it names with what is there.

    place: from a path below the project's root to the path itself.
    Raises ArtifactError that names the file and the stage that makes it again.
    """
    specs = {name: verified_spec(place(f"artifacts/{name}")) for name in VARIANTS}
    compared = Sealed(place(COMPARED), "compare")
    for name in VARIANTS:
        _check_parent(name, specs, place(f"artifacts/{name}"))
        export = place(f"exported/{name}")
        onnx_sha256 = _check_export(name, export, place(f"artifacts/{name}"))
        report = Sealed(place(f"reports/{name}/{SEAL_NAME}"), f"evaluate@{name}")
        report.file("metrics.json")
        report.demand_of(ONNX_NAME, onnx_sha256, export / ONNX_NAME)
        report.demand_of(MANIFEST, specs[name].ancestors.get("data", ""), place(f"artifacts/{name}"))
        compared.file(f"{name}/latency.json")
        compared.demand_of(name, onnx_sha256, export / ONNX_NAME)
        if name in STEPS:
            compared.file(f"{name}/lost/{LOSS_NAME}")


def _check_parent(name: str, specs: dict[str, ModelSpec], artifact: Path) -> None:
    parent = STEPS.get(name)
    if parent and specs[name].ancestors.get(parent) != specs[parent].digest:
        raise ArtifactError(
            f"{artifact / SPEC_NAME}: was made from another model than the {parent} one that is there; "
            f"{cure(MADE_BY[name])}"
        )


def _check_export(name: str, folder: Path, artifact: Path) -> str:
    """The SHA-256 of the exported ONNX file."""
    export = Sealed(folder / SEAL_NAME, f"evaluate@{name}")
    export.demand_of(SPEC_NAME, sha256_file(artifact / SPEC_NAME), artifact / SPEC_NAME)
    for file in (ONNX_NAME, "parity.json"):
        export.file(file)
    return export.digest(ONNX_NAME)
