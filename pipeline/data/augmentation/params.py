"""The key `augment` of a training: how its images are changed at random."""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.base.params import Section


class AugmentParams(Section):
    """Random changes of a training batch; all of them 0 or none leaves it as it is."""

    trivial: bool = Field(
        description="TrivialAugment: a random operation of random strength per image, before all else"
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
        if self.cutout and self.erase:
            raise ValueError(
                f"cutout ({self.cutout}) and erase ({self.erase}) exclude each other; set one of them to 0"
            )
        return self
