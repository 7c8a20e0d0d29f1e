"""The key `limits` of the section `data`: what an image may take, and how much may be wrong with a source."""

from pydantic import Field

from pipeline.base.params import Section


class IntakeLimits(Section):
    max_pixels: int = Field(
        ge=1,
        le=178_000_000,
        description="pixels of the largest image decoded; above it a small file may be meant to fill the "
        "memory; a JPEG of more than 40 million is decoded at a half of its size or less",
    )
    max_bytes: int = Field(ge=1, le=1 << 28, description="bytes of the largest image file that is decoded")
    max_quarantined: float = Field(
        ge=0, le=1, description="largest fraction of the rows that may be defective and left out"
    )
    max_quarantined_of_class: float = Field(
        ge=0, le=1, description="the same of the rows of each class of the first target, if it has one a row"
    )
    strict: bool = Field(
        description="refuse data in which the card has findings: classes whose names look the same, images "
        "of one colour"
    )
