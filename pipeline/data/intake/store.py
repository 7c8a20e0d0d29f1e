"""How the images of the training split are kept: as pixels, or encoded, with room for random crops."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from pipeline.base.params import Section


class PixelStore(Section):
    kind: Literal["pixels"] = Field(description="the final pixels, as of the other splits; fast to read")


class EncodedStore(Section):
    kind: Literal["encoded"] = Field(
        description="upright JPEGs, decoded when they are trained on: a part of the space, with room for "
        "train.augment.resized_crop; other splits are final pixels all the same"
    )
    shorter_side: int = Field(
        ge=1,
        le=4096,
        description="length that the shorter side of a larger image is brought to, in pixels; smaller images "
        "keep their size",
    )
    quality: int = Field(ge=1, le=100, description="JPEG quality; 90 is hard to tell from the original")


ImageStore: TypeAlias = Annotated[PixelStore | EncodedStore, Field(discriminator="kind")]
