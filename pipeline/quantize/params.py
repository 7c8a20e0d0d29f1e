"""The `quantize` section of params.yaml."""

from typing import Literal

from pydantic import Field

from pipeline.base.params import Section


class QuantizeParams(Section):
    mode: Literal["static", "dynamic", "weight_only"] = Field(
        description="static: int8 weights and activations, for convolutions; dynamic: int8 linear layers, "
        "with ranges found anew for each input, for transformers; weight_only: 4-bit linear weights, float "
        "products: for size, not for speed"
    )
    max_drop: float = Field(
        ge=0.0,
        le=1.0,
        description="largest loss of the validation score against the float export; the layers that cost "
        "most stay float until it holds",
    )
    calibration_images: int = Field(
        ge=1,
        le=1_000_000,
        description="training images, evenly over the groups of the task (classes), that set the int8 ranges",
    )
    calibration: Literal["minmax", "percentile"] = Field(
        description="how a range follows from the activations seen: all of them, or without the outermost "
        "0.001 %"
    )
    batch_size: int = Field(ge=1, le=65_536, description="images per batch, for calibration and validation")
    per_channel: bool = Field(
        description="a scale for each output channel of a weight instead of one for the tensor"
    )
    reduce_range: bool = Field(
        description="7-bit weights, which are right on every CPU; 8-bit sums saturate on an x86 without "
        "VNNI, on which false is an error"
    )
    seed: int = Field(ge=0, lt=2**31, description="which training images calibrate")
