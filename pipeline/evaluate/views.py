"""Test-time augmentation: mean answers to views of an image (Jordan 2024, arXiv 2404.00498, section 3.5).

Letters: B batch, C channels, H height, W width.
"""

from typing import NamedTuple

import numpy as np

from pipeline.evaluate.params import Tta
from pipeline.export.session import InputPixels


class View(NamedTuple):
    """share: weight of the answer to this view.

    shift: pixels down and right; the border is mirrored into the gap.
    """

    share: float
    shift: int
    flipped: bool

    def of(self, images_BCHW: InputPixels) -> InputPixels:
        height, width = images_BCHW.shape[2:]
        reach = abs(self.shift)
        padded = np.pad(images_BCHW, ((0, 0), (0, 0), (reach, reach), (reach, reach)), mode="reflect")
        first = reach - self.shift
        moved = padded[:, :, first : first + height, first : first + width]
        return moved[:, :, :, ::-1] if self.flipped else moved


def views(tta: Tta) -> list[View]:
    """The views, the image itself first, and their shares, which sum to 1."""
    if tta == "none":
        return [View(1.0, 0, flipped=False)]
    if tta == "flip":
        return [View(0.5, 0, flipped) for flipped in (False, True)]
    return [
        View(share, shift, flipped)
        for share, shift in ((0.25, 0), (0.125, -1), (0.125, 1))
        for flipped in (False, True)
    ]
