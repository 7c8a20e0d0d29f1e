"""The `evaluate` section of params.yaml."""

from typing import Literal

from pydantic import Field

from pipeline.params import Section

Tta = Literal["none", "flip", "flip_shift"]


class LatencyParams(Section):
    warmup: int = Field(ge=0, description="runs at each batch size before the clock starts")
    repeats: int = Field(ge=1, description="timed runs at batch 1; a tenth of them at batch 64")
    threads: int = Field(ge=1, description="CPU threads of onnxruntime")


class EvaluateParams(Section):
    batch_size: int = Field(ge=1, description="images per batch on the test split")
    parity_images: int = Field(ge=1, description="test images on which the exported file is compared with the model")
    calibration_bins: int = Field(ge=1, le=1000, description="equal bins of confidence for the expected calibration error")
    worst_images: int = Field(ge=1, le=400, description="most confidently wrong images to show")
    tta: Tta = Field(
        description="test-time augmentation behind the additional metric top1_tta: the mean answer to an image and its mirror "
        "image, with flip_shift also moved by a pixel; none leaves the metric out"
    )
    latency: LatencyParams
