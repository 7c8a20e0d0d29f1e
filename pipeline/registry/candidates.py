"""What is to be registered: the figures, files and origin of each variant, read from the stage's inputs."""

from dataclasses import dataclass
from pathlib import Path

from pipeline.base.files import sha256_file, sha256_json
from pipeline.base.stage import Stage
from pipeline.base.yaml_file import read_yaml
from pipeline.compare.records import VARIANTS
from pipeline.export.parity import Parity, read_parities
from pipeline.git import git_if_it_can
from pipeline.models.description.spec import ModelSpec
from pipeline.models.disk.artifact import read_spec
from pipeline.registry.chain import check_chain
from pipeline.registry.figures import Figures, read_figures
from pipeline.registry.submission import read_submission
from pipeline.tracking.records import deciding_params

PARENTS = {"dense": None, "finetuned": "dense", "quantized": "finetuned"}
"""The registered variants, each with the one it was made from, parents first."""


@dataclass(frozen=True)
class Export:
    """One variant as it is deployed, with what can be trained: torch weights, which an int8 one lacks."""

    variant: str
    onnx: Path
    spec_file: Path
    weights: Path | None
    spec: ModelSpec
    parity: Parity

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """C, H, W of the images that it takes."""
        (taken,) = self.spec.inputs.values()
        channels, height, width = taken.shape
        return channels, height, width

    @property
    def key(self) -> str:
        """The version's identity: equal weights and an equal deployed file are the same version."""
        return sha256_json(
            {"variant": self.variant, "weights": self.spec.digest, "onnx": sha256_file(self.onnx)}
        )


@dataclass(frozen=True)
class CandidateInputs:
    """All that a registration judges and stores."""

    figures: dict[str, Figures]
    exports: dict[str, Export]

    def metrics(self) -> dict[str, float]:
        """What a person compares: `dense/score` and so on, for every variant."""
        values: dict[str, float] = {}
        for name, own in self.figures.items():
            values |= {f"{name}/{key}": value for key, value in own.quality.model_dump().items()}
            for size, timing in own.latency.batches.items():
                values[f"{name}/batch{size}/latency_ms"] = timing.median_ms
                values[f"{name}/batch{size}/images_per_s"] = timing.images_per_s
                values[f"{name}/batch{size}/speedup"] = timing.speedup["dense"].ratio
        return values


def read_inputs(stage: Stage) -> CandidateInputs:
    """Raises ArtifactError that names the file that does not fit and the stage that makes it."""
    check_chain(stage.dep)
    figures = {name: read_figures(name, stage.dep) for name in VARIANTS}
    exports = {name: _read_export(stage, name) for name in PARENTS}
    return CandidateInputs(figures, exports)


def lineage(stage: Stage) -> dict[str, str]:
    """Where this state of the pipeline is found again; "none" for what is kept nowhere."""
    lock = stage.root / "dvc.lock"
    locked = read_yaml(lock).get("stages", {}) if lock.exists() else {}
    others = {name: entry for name, entry in locked.items() if name != stage.name}
    commit, dirty = _commit(stage.root)
    return {
        "git_commit": commit,
        "git_dirty": dirty,
        "dvc_lock": sha256_json(others) if others else "none",
        "params": sha256_json(deciding_params(stage.root)),
        "pipeline": stage.pipeline_key(),
    }


def _read_export(stage: Stage, variant: str) -> Export:
    exported, artifact = stage.dep(f"exported/{variant}"), stage.dep(f"artifacts/{variant}")
    spec, weights = artifact / "model.json", artifact / "weights.safetensors"
    return Export(
        variant,
        exported / "model.onnx",
        spec,
        weights if weights.exists() else None,
        read_spec(artifact),
        read_parities(exported, f"evaluate@{variant}").files["model.onnx"],
    )


def _commit(root: Path) -> tuple[str, str]:
    """The commit that this folder is of, and whether it differs from it: true, false or unknown."""
    if submission := read_submission(root):  # in a submitted tree, which has no git
        return submission.git_commit, str(submission.git_dirty).lower()
    changed = git_if_it_can(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!dvc.lock")
    head = (git_if_it_can(root, "rev-parse", "HEAD") or "none").strip()
    return head, "unknown" if changed is None else str(bool(changed.strip())).lower()
