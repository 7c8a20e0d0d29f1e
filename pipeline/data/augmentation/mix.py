"""Mixing each image of a batch with another one of the split: mixup and cutmix, on the batch's device.

Letters: B batch, C channels, H height, W width.

Partner, share and box of an image are functions of (seed, epoch, image), as all its changes are (augment.py).
"""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pipeline.data.augmentation.params import AugmentParams
from pipeline.data.augmentation.streams import stream_seed, uniform
from pipeline.data.prepared.send import sent

PARTNER_STREAM = 5
"""Number of a stream of random numbers, as the three below; augment.py has those before."""
SHARE_STREAM = 6
TOP_STREAM = 7
LEFT_STREAM = 8
QUANTILES = 513


class Mix(NamedTuple):
    """partners_B: rows of the split. share_B: of the image itself, 0..1; the rest is its partner's.

    top_B, left_B: where the partner's box begins, as a fraction of the room that it has; None for mixup.
    """

    partners_B: Tensor
    share_B: Tensor
    top_B: Tensor | None
    left_B: Tensor | None


def draw_mix(samples_B: Tensor, num_images: int, params: AugmentParams, seed: int, epoch: int) -> Mix | None:
    """How to mix some samples, (B,) row numbers, of a split of `num_images`; None if both kinds are off."""
    alpha = params.mixup or params.cutmix
    if not alpha:
        return None
    of_epoch = stream_seed("augment", seed, epoch)
    partners = (uniform(samples_B, of_epoch, PARTNER_STREAM) * num_images).long().clamp_(max=num_images - 1)
    even = uniform(samples_B, of_epoch, SHARE_STREAM).numpy()
    share = torch.from_numpy(np.interp(even, *_beta(alpha))).float()
    corners = (TOP_STREAM, LEFT_STREAM)
    boxes = (uniform(samples_B, of_epoch, stream) if params.cutmix else None for stream in corners)
    return Mix(partners, share, *boxes)


def mixed(images_BCHW: Tensor, others_BCHW: Tensor, mix: Mix) -> tuple[Tensor, Tensor]:
    """Float images mixed with their partners, and the share of the image itself, (B,).

    mixup: a weighted mean (Zhang et al. 2018, arXiv 1710.09412). cutmix: a box of the partner in its place,
    whose sides are sqrt(1 - share) of the image's; the share then is what is left of the image (Yun et al.
    2019, arXiv 1905.04899).
    """
    share_B = sent(mix.share_B, images_BCHW.device)
    if mix.top_B is None or mix.left_B is None:
        return torch.lerp(others_BCHW, images_BCHW, share_B[:, None, None, None]), share_B
    height, width = images_BCHW.shape[2:]
    side_B = (1.0 - mix.share_B).sqrt()
    rows_BH, columns_BW = _inside(side_B, mix.top_B, height), _inside(side_B, mix.left_B, width)
    box_BHW = sent(rows_BH[:, :, None] & columns_BW[:, None, :], images_BCHW.device)
    left_B = 1.0 - box_BHW.float().mean(dim=(1, 2))
    return torch.where(box_BHW[:, None], others_BCHW, images_BCHW), left_B


def _inside(side_B: Tensor, place_B: Tensor, size: int) -> Tensor:
    """Rows or columns that the box covers, (B, size) bool."""
    length_B = (side_B * size).round().long()
    first_B = (place_B * (size - length_B + 1)).long()
    positions = torch.arange(size)
    return (positions >= first_B[:, None]) & (positions < (first_B + length_B)[:, None])


@cache
def _beta(
    alpha: float,
) -> tuple[np.ndarray[tuple[int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """The distribution function of Beta(alpha, alpha) at quantiles, to be read backwards by interpolation.

    The quantiles crowd towards 0 and 1, where the density of a small alpha is infinite and its middles are
    taken.
    """
    half = np.linspace(0.0, 1.0, QUANTILES) ** 8 / 2
    middles = (half[1:] + half[:-1]) / 2
    weights = (middles * (1.0 - middles)) ** (alpha - 1.0) * np.diff(half)
    cumulative = np.concatenate([[0.0], np.cumsum([*weights, *weights[::-1]])])
    return cumulative / cumulative[-1], np.concatenate([half, 1.0 - half[-2::-1]])
