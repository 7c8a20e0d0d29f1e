"""Which size images are brought to, and how, by the sizes and modes of some of them."""

import statistics
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.data.survey.sample import Sample
from pipeline.errors import DataError

TINY_SIDE = 16
SMALL_SIDE = 64
PHOTOGRAPH_SIDE = 160
"""Shorter side, in pixels, from which on images are taken for photographs."""
PRETRAINED_PIXELS = 224
FROM_RANDOM_PIXELS = 128
"""Side of photographs that are learnt from random weights: few images do not repay more."""
CROPPED_FROM = 8 / 7
"""Shorter side before the middle is cut out, as 256 -> 224."""
ALIKE = 1.1
"""Ratio of the sides up to which stretching to a square is hardly seen."""


@dataclass(frozen=True)
class ImageChoice:
    """keys: of the section data. kind: which recipe they need. why: this size."""

    keys: dict[str, Any]
    kind: Literal["tiny", "small", "photographs"]
    why: str


def choose_images(sample: Sample, *, pretrained: bool) -> ImageChoice:
    """pretrained: trained weights are there, which know photographs.

    Raises DataError if none of the images that were looked at can be used.
    """
    if not sample.sizes:
        file, reason = sample.odd[0]
        raise DataError(
            f"none of {sample.looked_at} images that were looked at can be used; the first: {file}: {reason}"
        )
    widths, heights = [width for width, _ in sample.sizes], [height for _, height in sample.sizes]
    typical = int(statistics.median(map(min, sample.sizes)))
    channels = {"channels": 3 if sample.coloured or pretrained else 1}
    if pretrained or typical >= PHOTOGRAPH_SIDE:
        side = PRETRAINED_PIXELS if pretrained else FROM_RANDOM_PIXELS
        return ImageChoice(channels | _photographs(side), "photographs", _why(side, pretrained))
    if len(set(sample.sizes)) == 1 and max(widths[0], heights[0]) <= SMALL_SIDE:
        height, width, why = heights[0], widths[0], "the size of all"
    else:
        height = width = min(SMALL_SIDE, typical)
        why = f"of images whose shorter side is {typical} px; more pixels cost time in proportion"
    shape = statistics.median(max(size) / min(size) for size in sample.sizes)
    rule = "stretch" if shape <= ALIKE or (height, width) == (heights[0], widths[0]) else "fit"
    keys = {"height": height, "width": width, "resize": {"rule": rule, "filter": "bilinear"}}
    kind: Literal["tiny", "small"] = "tiny" if max(height, width) <= TINY_SIDE else "small"
    return ImageChoice(channels | keys | {"store": {"kind": "pixels"}}, kind, why)


def _photographs(side: int) -> dict[str, Any]:
    whole = round(side * CROPPED_FROM)
    return {
        "height": side,
        "width": side,
        "resize": {"rule": "crop", "size": whole, "filter": "bicubic"},
        "store": {"kind": "encoded", "shorter_side": whole, "quality": 90},
    }


def _why(side: int, pretrained: bool) -> str:
    if pretrained:
        return "what the trained weights know"
    return f"photographs, from random weights; more than {side} px pays on a GPU or with trained weights"
