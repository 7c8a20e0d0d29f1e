"""The figures of each variant as `evaluate` wrote them, checked while they are read."""

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import ArtifactError

VARIANTS = ("dense", "pruned", "finetuned", "quantized")


class JsonFile(BaseModel):
    """A JSON file of which only some keys are needed here."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Quality(JsonFile):
    """metrics.json: accuracies are fractions of the test images, macs are of one image."""

    top1: float = Field(ge=0, le=1)
    worst_class_recall: float = Field(ge=0, le=1)
    macs: int
    params: int
    size_bytes: int


class Latency(JsonFile):
    """latency.json: times on the device named in it."""

    device: str
    threads: int
    runtime: str
    batch1_median_ms: float = Field(gt=0)
    batch64_images_per_s: float = Field(gt=0)
    speedup: float = Field(gt=0, description="dense's time at batch 1 over this one's, timed in turns in one process")
    speedup64: float = Field(gt=0, description="the same at batch 64")

    @property
    def measured_on(self) -> str:
        """Two latencies may be compared where this is the same."""
        return f"{self.device}, {self.threads} threads, {self.runtime}"


class Parity(JsonFile):
    """parity.json: an ONNX file against what it was made from: largest logit difference, fraction with the same top-1."""

    against: str
    max_diff: float = Field(ge=0)
    agreement: float = Field(ge=0, le=1)
    images: int


class Figures(BaseModel):
    """One variant's quality, and its latency on a named device."""

    model_config = ConfigDict(frozen=True)

    quality: Quality
    latency: Latency


FileT = TypeVar("FileT", bound=JsonFile)


def read_figures(metrics: Path, latency: Path) -> Figures:
    """Raises ArtifactError that names the file and the key."""
    return Figures(quality=read_json(metrics, Quality), latency=read_json(latency, Latency))


def read_json(path: Path, model: type[FileT]) -> FileT:
    """Raises ArtifactError for a file that is missing or lacks a key."""
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ArtifactError(f"{path} does not exist; run `dvc repro`") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, p['loc'])) or 'file'}: {p['msg'].lower()}" for p in error.errors())
        raise ArtifactError(f"{path}: {problems}; run `dvc repro -f -s` on the stage that writes it") from error
