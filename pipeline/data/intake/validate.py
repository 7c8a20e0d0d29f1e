"""One row against its rules: an image becomes pixels of the size and channels asked for, or a Defect.

Letters: H height, W width, C channels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from pipeline.data.intake.targets.target import AnyTarget
from pipeline.images.decode import PILLOW_MODES, flattened
from pipeline.images.defect import Defect
from pipeline.images.pixels import pixels, shaped
from pipeline.images.rule import ImageRule


@dataclass(frozen=True)
class RowCheck:
    """The rules for one source; its methods are pure, so threads may share it."""

    rule: ImageRule
    max_pixels: int
    raw_shape: tuple[int, int, int] | None
    targets: Mapping[str, AnyTarget]
    classes: Mapping[str, list[str]]

    def values(self, cells: Mapping[str, Any]) -> tuple[Any, ...]:
        """The value of each target from a row's cells by column. Raises Defect."""
        return tuple(
            target.check(tuple(cells[column] for column in target.names), self.classes.get(name))
            for name, target in self.targets.items()
        )

    def pixels(self, data: bytes) -> bytes:
        """H * W * C bytes in that order.

        Raises Defect if the image is damaged or of a kind that would mislead.
        """
        if self.raw_shape is None:
            return pixels(data, self.rule, self.max_pixels).tobytes()
        height, width, channels = self.raw_shape
        if len(data) != height * width * channels:
            expected = f"{height} x {width} x {channels} = {height * width * channels}"
            raise Defect("wrong raw length", f"{len(data)} bytes, but data.source.raw_shape needs {expected}")
        if self.raw_shape == (self.rule.height, self.rule.width, self.rule.channels):
            return data
        image = Image.frombytes(PILLOW_MODES[channels], (width, height), data)
        return shaped(flattened(image, self.rule), self.rule).tobytes()
