"""Augmentation of a whole batch by tensor indexing, on the device where the batch is.

Letters: B batch, C channels, H height, W width.

The draws for an image are a function of (seed, epoch, sample), so that the number of ranks changes no image.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.data.augmentation.params import AugmentParams
from pipeline.data.augmentation.streams import stream_seed, uniform
from pipeline.data.prepared.send import sent


class Draws(NamedTuple):
    """Random choices for B images; None if that change is off.

    dy, dx: shift in pixels, int64 (B,). flip: bool (B,). cut_y, cut_x: centre of the cut as a fraction of
    height and width, float32 (B,). cut_h, cut_w: its sides as such fractions; without them both are `cutout`
    pixels. mirrored: what a shift uncovers shows the image's mirror image instead of black.
    """

    dy: Tensor | None
    dx: Tensor | None
    flip: Tensor | None
    cut_y: Tensor | None
    cut_x: Tensor | None
    cut_h: Tensor | None = None
    cut_w: Tensor | None = None
    cutout: int = 0
    mirrored: bool = False

    def to(self, device: torch.device) -> "Draws":
        moved = (sent(tensor, device) if isinstance(tensor, Tensor) else tensor for tensor in self)
        return Draws(*moved)  # type: ignore[arg-type]

    @property
    def is_identity(self) -> bool:
        return all(tensor is None for tensor in self[:5])


def draw_choices(samples_B: Tensor, params: AugmentParams, seed: int, epoch: int) -> Draws:
    """Choices for some samples, (B,) int64 row numbers: functions of sample, seed and epoch alone.

    So neither the batch, nor the worker, nor the order decides how an image is changed.
    """
    of_epoch = stream_seed("augment", seed, epoch)

    def shift(stream: int) -> Tensor | None:
        reach = params.crop_padding
        return (uniform(samples_B, of_epoch, stream) * (2 * reach + 1)).long() - reach if reach else None

    cuts = params.cutout > 0 or params.erase > 0
    cut_y, cut_x = (uniform(samples_B, of_epoch, stream) if cuts else None for stream in (3, 4))
    cut_h, cut_w = _erased(samples_B, params.erase, of_epoch) if params.erase > 0 else (None, None)
    flip, mirrored = _flips(samples_B, params, seed, epoch), params.crop_fill == "mirror"
    return Draws(shift(0), shift(1), flip, cut_y, cut_x, cut_h, cut_w, params.cutout, mirrored)


def _erased(samples_B: Tensor, probability: float, seed: int) -> tuple[Tensor, Tensor]:
    """Sides of the rectangle to erase, as fractions of height and width, (B,) each; 0 for none.

    Area and aspect ratio have the ranges of Zhong et al. 2020 (arXiv 1708.04896).
    """
    chosen_B = uniform(samples_B, seed, 9) < probability
    area_B = torch.lerp(torch.tensor(0.02), torch.tensor(0.33), uniform(samples_B, seed, 10))
    log_ratio_B = (uniform(samples_B, seed, 11) * 2 - 1) * math.log(1 / 0.3)
    root_B, stretch_B = area_B.sqrt() * chosen_B, (log_ratio_B / 2).exp()
    return root_B * stretch_B, root_B / stretch_B


def _flips(samples_B: Tensor, params: AugmentParams, seed: int, epoch: int) -> Tensor | None:
    """Which images to flip, bool (B,).

    alternating: a coin decides about an image's first epoch, and every other epoch shows the other side, so
    that any two epochs in a row show all of both (Jordan 2024, arXiv 2404.00498, section 3.6).
    """
    if params.flip == "none":
        return None
    if params.flip == "random":
        return uniform(samples_B, stream_seed("augment", seed, epoch), 2) < 0.5
    return (uniform(samples_B, stream_seed("flip", seed), 2) < 0.5) ^ (epoch % 2 == 1)


def augment(images_BCHW: Tensor, draws: Draws) -> Tensor:
    """Padded crop, flip and cutout in one gather; uint8 in, uint8 in channels_last strides out.

    Output pixel (y, x) is input pixel (y + dy, x + dx), x counted from the right in a flipped image; black,
    or mirrored at the border, outside the image, and black inside the cut. Returns the input itself if every
    change is off.
    """
    if draws.is_identity:
        return images_BCHW
    num_images, channels, height, width = images_BCHW.shape
    # One black pixel behind the batch is what hidden pixels point to: copying the batch for it and keeping
    # the indices small is twice as fast as masking the result (416,000 against 198,000 CIFAR images/s on one
    # core).
    pixels = torch.cat(
        [images_BCHW.permute(0, 2, 3, 1).reshape(-1, channels), images_BCHW.new_zeros(1, channels)]
    )
    source = _source(num_images, height, width, draws.to(images_BCHW.device), images_BCHW.device)
    return pixels.index_select(0, source).view(num_images, height, width, channels).permute(0, 3, 1, 2)


def _source(num_images: int, height: int, width: int, draws: Draws, device: torch.device) -> Tensor:
    """Number of the input pixel that each output pixel shows, (B * H * W,); B * H * W stands for black."""
    black = num_images * height * width
    dtype = torch.int32 if 2 * black < 2**31 else torch.int64
    rows_BH = _positions(num_images, height, draws.dy, None, device)
    columns_BW = _positions(num_images, width, draws.dx, draws.flip, device)
    if draws.mirrored:
        rows_BH, columns_BW = _mirrored(rows_BH, height), _mirrored(columns_BW, width)
    first_B1 = torch.arange(num_images, device=device)[:, None] * (height * width)
    rows_BH = torch.where(_inside(rows_BH, height), first_B1 + rows_BH * width, black).to(dtype)
    columns_BW = torch.where(_inside(columns_BW, width), columns_BW, black).to(dtype)
    source_BHW = rows_BH[:, :, None] + columns_BW[:, None, :]
    if draws.cut_y is not None and draws.cut_x is not None:
        cut_BH = _cut(draws.cut_y, height, draws.cutout if draws.cut_h is None else draws.cut_h)
        cut_BW = _cut(draws.cut_x, width, draws.cutout if draws.cut_w is None else draws.cut_w)
        source_BHW.masked_fill_(cut_BH[:, :, None] & cut_BW[:, None, :], black)
    return source_BHW.clamp_(max=black).view(-1)


def _positions(
    num_images: int, size: int, shift_B: Tensor | None, flip_B: Tensor | None, device: torch.device
) -> Tensor:
    """Where each output row or column comes from, (B, size) int64, possibly outside 0..size-1."""
    positions = torch.arange(size, device=device).expand(num_images, size)
    if flip_B is not None:
        positions = torch.where(flip_B[:, None], size - 1 - positions, positions)
    return positions if shift_B is None else positions + shift_B[:, None]


def _mirrored(positions: Tensor, size: int) -> Tensor:
    """Positions outside 0..size-1 reflected at the first and the last one, which are not repeated."""
    period = max(1, 2 * (size - 1))
    folded = positions.remainder(period)
    return torch.minimum(folded, period - folded)


def _inside(positions: Tensor, size: int) -> Tensor:
    return (positions >= 0) & (positions < size)


def _cut(centre_B: Tensor, size: int, side: int | Tensor) -> Tensor:
    """Rows or columns that the cut covers, (B, size) bool; part of it may lie outside (arXiv 1708.04552).

    side: in pixels, or as fractions of the size, (B,).
    """
    length_B1 = (side * size).round().long()[:, None] if isinstance(side, Tensor) else torch.tensor(side)
    positions_BS = (
        torch.arange(size, device=centre_B.device) - (centre_B * size).long()[:, None] + length_B1 // 2
    )
    return (positions_BS >= 0) & (positions_BS < length_B1)
