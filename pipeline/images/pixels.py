"""The one way from a file's bytes to the pixels that a network takes: prepare and all who answer call it."""

from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from PIL import Image

from pipeline.images.decode import decoded
from pipeline.images.resize import resized
from pipeline.images.rule import ImageRule

if TYPE_CHECKING:
    import numpy.typing as npt

PixelsHWC: TypeAlias = "npt.NDArray[np.uint8]"
LARGEST_DECODED = 178_000_000
"""Pixels of an image that Pillow decodes at all."""


def pixels(data: bytes, rule: ImageRule, max_pixels: int = LARGEST_DECODED) -> PixelsHWC:
    """uint8 (H, W, C) of a file's bytes: decoded, upright, opaque, grey or RGB, in the size of the rule.

    Raises Defect if the file is damaged, of a kind that would mislead, or of more than `max_pixels`.
    """
    return shaped(decoded(data, rule, max_pixels), rule)


def shaped(image: Image.Image, rule: ImageRule) -> PixelsHWC:
    """uint8 (H, W, C) of an image in grey or RGB, as the rule says."""
    return np.asarray(resized(image, rule)).reshape(rule.height, rule.width, rule.channels)
