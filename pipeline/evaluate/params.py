"""The `evaluate` section of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from pipeline.base.params import Section
from pipeline.export.params import Format

Tta = Literal["none", "flip", "flip_shift"]
Slicing = Literal["brightness", "contrast"]
BatchSize = Annotated[int, Field(ge=1, le=65_536)]


class LatencyParams(Section):
    batches: list[BatchSize] = Field(
        min_length=1, max_length=4, description="batch sizes at which every variant is timed"
    )
    warmup: int = Field(
        ge=0, le=1_000_000, description="runs at each batch size before the clock starts, in all"
    )
    repeats: int = Field(
        ge=1,
        le=1_000_000,
        description="timed runs at batch 1; at batch B, this divided by the square root of B",
    )
    threads: int = Field(ge=1, le=1024, description="CPU threads of onnxruntime")

    @field_validator("batches")
    @classmethod
    def _each_once(cls, batches: list[int]) -> list[int]:
        if batches != sorted(set(batches)):
            raise ValueError(f"{batches} must rise; write {sorted(set(batches))}")
        return batches


class EvaluateParams(Section):
    batch_size: BatchSize = Field(description="images per batch on the test split")
    parity_images: int = Field(
        ge=1, le=10_000_000, description="test images on which the exported file is compared with the model"
    )
    exports: list[Format] = Field(
        max_length=3,
        description="what a float variant is also exported to, beside model.onnx: fp16 or bf16 ONNX for "
        "GPUs, pt2 for torch.export.load",
    )
    calibration_bins: int = Field(
        ge=1, le=1000, description="equal bins of confidence for the expected calibration error"
    )
    worst_images: int = Field(
        ge=1,
        le=400,
        description="most confidently wrong answers to show; as many of those that a step of compression "
        "changed",
    )
    tta: Tta = Field(
        description="test-time augmentation behind the additional metric score_tta: the mean answer to an "
        "image and its mirror image, with flip_shift also moved by a pixel; none leaves the metric out"
    )
    slices: list[Slicing] = Field(
        max_length=2,
        description="what the test images are sorted by into quarters; what a step loses is stated for each "
        "of them, as it is for each value of data.slice_columns",
    )
    latency: LatencyParams
