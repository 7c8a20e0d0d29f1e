"""Random resized crops: a box of an image in the size of a rule (Szegedy et al. 2015, arXiv 1409.4842).

Letters: w, h size of the image.
"""

import io
import math
from typing import NamedTuple

import numpy as np
from PIL import Image

from pipeline.images.decode import SCALES
from pipeline.images.pixels import PixelsHWC
from pipeline.images.resize import Window, through
from pipeline.images.rule import ImageRule

Box = tuple[float, float, float, float]


class CropDraw(NamedTuple):
    """A box drawn for an image of any size.

    area: share of the image. least, most: logarithms of the allowed width / height. shape, left, top: 0..1,
    where between its limits each of them is.
    """

    area: float
    least: float
    most: float
    shape: float
    left: float
    top: float

    def box(self, w: int, h: int) -> Box:
        """Left, upper, right, lower in pixels; a shape that would not fit gives way to the nearest one that
        does.
        """
        # With this area the box is as wide as the image at one limit, and as high at the other.
        widest, highest = math.log(w / (self.area * h)), math.log(self.area * w / h)
        least, most = (min(max(limit, highest), widest) for limit in (self.least, self.most))
        ratio = math.exp(least + (most - least) * self.shape)
        width = min(w, math.sqrt(self.area * w * h * ratio))
        height = min(h, math.sqrt(self.area * w * h / ratio))
        left, top = (w - width) * self.left, (h - height) * self.top
        return left, top, min(w, left + width), min(h, top + height)


def cropped_file(data: bytes, draw: CropDraw, rule: ImageRule) -> PixelsHWC:
    """uint8 (H, W, C) of a box of a JPEG in grey or RGB as the rule says, decoded no larger than needed."""
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        (w, h), box = image.size, draw.box(*image.size)
        enough = min((box[2] - box[0]) / rule.width, (box[3] - box[1]) / rule.height)
        scale = next((scale for scale in SCALES if scale <= enough), 1)
        if scale > 1:
            image.draft(None, (w // scale, h // scale))
        image.load()
    across, down = image.width / w, image.height / h
    left, top, right, bottom = box
    smaller = (left * across, top * down, min(image.width, right * across), min(image.height, bottom * down))
    return _shown(image, smaller, rule)


def cropped(image: Image.Image, draw: CropDraw, rule: ImageRule) -> PixelsHWC:
    """uint8 (H, W, C) of a box of an image in grey or RGB as the rule says."""
    return _shown(image, draw.box(*image.size), rule)


def _shown(image: Image.Image, box: Box, rule: ImageRule) -> PixelsHWC:
    window = Window(box, (rule.width, rule.height))
    return np.asarray(through(image, window, rule.resize.filter)).reshape(
        rule.height, rule.width, rule.channels
    )
