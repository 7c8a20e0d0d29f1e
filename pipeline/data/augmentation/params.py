"""The key `augment` of a training: how its images are changed at random."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.base.params import Section

Range = Annotated[list[Annotated[float, Field(gt=0.0, le=100.0)]], Field(min_length=2, max_length=2)]
"""The smallest and the largest of something."""


class ResizedCropParams(Section):
    scale: Range = Field(description="smallest and largest share of the image's area, at most 1")
    ratio: Range = Field(description="smallest and largest width / height, for example [0.75, 1.3333]")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for name, (least, most) in (("scale", self.scale), ("ratio", self.ratio)):
            if least > most:
                raise ValueError(f"{name} is [{least}, {most}]; write the smaller number first")
        if self.scale[1] > 1:
            raise ValueError(
                f"scale ends in {self.scale[1]}, more than the whole image; lower it to 1 at most"
            )
        return self


class ColorJitterParams(Section):
    brightness: float = Field(ge=0, le=1, description="largest change of a factor from 1")
    contrast: float = Field(ge=0, le=1, description="largest change of a factor from 1")
    saturation: float = Field(ge=0, le=1, description="largest change of a factor from 1; RGB alone")
    hue: float = Field(ge=0, le=0.5, description="largest turn in full circles, both ways; RGB alone")


class AugmentParams(Section):
    """Random changes of a training batch; all of them 0, none or null leaves it as it is."""

    resized_crop: ResizedCropParams | None = Field(
        description="a random part of the image in its place, brought to height x width (Szegedy et al. "
        "2015); with data.store encoded it is cut out of more than the final pixels; null: the whole"
    )
    color_jitter: ColorJitterParams | None = Field(
        description="brightness, contrast, saturation and hue at random, in this order; null: none"
    )
    trivial: bool = Field(
        description="TrivialAugment: a random operation of random strength per image, before what follows"
    )
    flip: Literal["none", "random", "alternating"] = Field(
        description="left-right flips; random: half of the images; alternating: each image every other epoch"
    )
    crop_padding: int = Field(
        ge=0, le=2048, description="largest shift of the image in each direction, in pixels"
    )
    crop_fill: Literal["black", "mirror"] = Field(
        description="what a shift uncovers: black, or the image mirrored"
    )
    cutout: int = Field(
        ge=0, le=2048, description="side of a black square at a random place, in pixels; 0: none"
    )
    erase: float = Field(
        ge=0,
        le=1,
        description="probability that a rectangle of 2 to 33 % of the image turns black (Zhong et al. 2020)",
    )
    mixup: float = Field(
        ge=0, le=10, description="alpha of the Beta that shares are drawn from, images are averaged; 0: none"
    )
    cutmix: float = Field(
        ge=0, le=10, description="alpha of the Beta that shares are drawn from, boxes are pasted; 0: none"
    )

    @model_validator(mode="after")
    def _one_of_a_kind(self) -> Self:
        if self.mixup and self.cutmix:
            raise ValueError(
                f"mixup ({self.mixup}) and cutmix ({self.cutmix}) exclude each other; set one of them to 0"
            )
        if self.resized_crop and self.crop_padding:
            raise ValueError(
                f"resized_crop and crop_padding ({self.crop_padding}) exclude each other; set one to "
                "null or 0"
            )
        if self.cutout and self.erase:
            raise ValueError(
                f"cutout ({self.cutout}) and erase ({self.erase}) exclude each other; set one of them to 0"
            )
        return self
