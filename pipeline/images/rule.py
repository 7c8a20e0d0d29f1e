"""Rule by which an image of any size becomes pixels of one size, as data of params.yaml, manifest.json and
model.json.
"""

from typing import Annotated, Literal, NamedTuple, TypeAlias

from pydantic import Field

from pipeline.base.params import Section

Filter = Literal["bilinear", "bicubic", "lanczos", "box"]
SixteenBit = Literal["refuse", "upper_byte"]
SIXTEEN_BIT = (
    "images with more than 8 bits a channel; refuse: such a row is defective; upper_byte: value // 256, of "
    "integers of 16 bits alone"
)
"""Description of the key, which stands in params.yaml, manifest.json and model.json."""


FilterKey = Annotated[
    Filter, Field(description="how pixels are averaged or interpolated; shrinking is antialiased")
]


class Stretch(Section):
    rule: Literal["stretch"] = Field(description="both sides scaled to height x width, whatever the shape")
    filter: FilterKey


class Fit(Section):
    rule: Literal["fit"] = Field(description="scaled until it covers height x width, whose middle is kept")
    filter: FilterKey


class Crop(Section):
    rule: Literal["crop"] = Field(
        description="shorter side scaled to `size`, then height x width cut out of the middle"
    )
    size: int = Field(ge=1, le=4096, description="length of the shorter side before the cut, in pixels")
    filter: FilterKey


class Pad(Section):
    rule: Literal["pad"] = Field(
        description="scaled until it lies within height x width, black around it, in the middle"
    )
    filter: FilterKey


Resize: TypeAlias = Annotated[Stretch | Fit | Crop | Pad, Field(discriminator="rule")]


class ImageRule(NamedTuple):
    """All that decides the pixels of a file, beside the versions of Pillow and its libraries.

    height, width: in pixels. channels: 1 for grey, 3 for RGB.
    """

    height: int
    width: int
    channels: int
    resize: Resize
    sixteen_bit: SixteenBit

    @property
    def shorter_side(self) -> int:
        """What an image's shorter side must have at least for no pixel to be made up."""
        return self.resize.size if isinstance(self.resize, Crop) else max(self.height, self.width)
