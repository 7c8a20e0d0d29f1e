"""The `prune` and `quantize` sections of params.yaml."""

from typing import Literal

from pydantic import Field

from pipeline.params import Section


class PruneParams(Section):
    target: float = Field(gt=0.0, le=1.0, description="largest fraction of the dense model's multiply-accumulates to keep")
    scope: Literal["global", "layer"] = Field(
        description="global: rank the channels of all layers together; layer: the same fraction of each"
    )
    importance: Literal["magnitude", "bn_scale", "taylor"] = Field(
        description="a channel's worth: L2 norm of its weights, batch-norm scale, or first-order effect on the loss"
    )
    round_to: int = Field(ge=1, le=256, description="kept channels are a multiple of this; 8 or 16 is what makes a CPU faster")
    max_ratio: float = Field(gt=0.0, lt=1.0, description="largest fraction of one layer's channels that may go")
    ignored: list[str] = Field(description="names of modules whose output channels all stay")
    taylor_batches: int = Field(ge=1, description="training batches whose gradients are summed (importance: taylor)")
    batch_size: int = Field(ge=1, description="images per batch, for gradients and validation")
    seed: int = Field(ge=0, lt=2**31, description="which training images the gradients come from")


class QuantizeParams(Section):
    calibration_images: int = Field(ge=1, description="training images, evenly over the classes, that set the int8 ranges")
    calibration: Literal["minmax", "entropy", "percentile"] = Field(description="how a range follows from the activations seen")
    batch_size: int = Field(ge=1, description="images per batch, for calibration and validation")
    per_channel: bool = Field(description="a scale for each output channel of a weight instead of one for the tensor")
    seed: int = Field(ge=0, lt=2**31, description="which training images calibrate")
