"""TrivialAugment: one random operation of random strength for each image of a batch, in its wide form.

Müller and Hutter 2021, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation" (arXiv
2103.10158), table 6.

Letters: B batch, C channels, H height, W width.

Operation and strength of an image are functions of (seed, epoch, image), as all its changes are (augment.py).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.data.augmentation.streams import stream_seed, uniform
from pipeline.data.prepared.send import sent

LEVELS = 31
OPERATION_STREAM = 12
"""Number of a stream of random numbers, as the two below; augment.py and mix.py have those before."""
LEVEL_STREAM = 13
SIGN_STREAM = 14
MOST_CHANGE = 0.99
"""Largest shear, and largest change of a factor from 1."""
MOST_PIXELS = 32
MOST_DEGREES = 135.0
FEWEST_BITS = 2
GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in the brightness of a pixel (ITU-R BT.601)."""


class Choice(NamedTuple):
    """operation_B: index into OPERATIONS. level_B: strength in 0..1, in LEVELS steps. sign_B: -1 or 1."""

    operation_B: Tensor
    level_B: Tensor
    sign_B: Tensor


def draw_trivial(samples_B: Tensor, seed: int, epoch: int) -> Choice:
    """Choices for some samples, (B,) row numbers."""
    of_epoch = stream_seed("augment", seed, epoch)
    operation_B = (uniform(samples_B, of_epoch, OPERATION_STREAM) * len(OPERATIONS)).long()
    level_B = (uniform(samples_B, of_epoch, LEVEL_STREAM) * LEVELS).floor() / (LEVELS - 1)
    sign_B = torch.where(uniform(samples_B, of_epoch, SIGN_STREAM) < 0.5, -1.0, 1.0)
    return Choice(operation_B, level_B, sign_B)


def trivial(images_BCHW: Tensor, choice: Choice) -> Tensor:
    """uint8 in, uint8 out; what a move uncovers is black."""
    result = images_BCHW.clone()
    level_B, sign_B = (sent(tensor, images_BCHW.device) for tensor in choice[1:])
    for index, operation in enumerate(OPERATIONS.values()):
        rows = (choice.operation_B == index).nonzero().flatten()
        if len(rows):
            rows = sent(rows, images_BCHW.device)
            result[rows] = operation(images_BCHW[rows], level_B[rows], sign_B[rows])
    return result


def shear_x(images: Tensor, level_B: Tensor, sign_B: Tensor) -> Tensor:
    return _moved(images, lambda y, x: (y, x + MOST_CHANGE * (level_B * sign_B)[:, None, None] * y))


def shear_y(images: Tensor, level_B: Tensor, sign_B: Tensor) -> Tensor:
    return _moved(images, lambda y, x: (y + MOST_CHANGE * (level_B * sign_B)[:, None, None] * x, x))


def translate_x(images: Tensor, level_B: Tensor, sign_B: Tensor) -> Tensor:
    return _moved(
        images, lambda y, x: (y, x - (MOST_PIXELS * level_B).floor()[:, None, None] * sign_B[:, None, None])
    )


def translate_y(images: Tensor, level_B: Tensor, sign_B: Tensor) -> Tensor:
    return _moved(
        images, lambda y, x: (y - (MOST_PIXELS * level_B).floor()[:, None, None] * sign_B[:, None, None], x)
    )


def rotate(images: Tensor, level_B: Tensor, sign_B: Tensor) -> Tensor:
    """About the image's centre."""
    angle = (math.radians(MOST_DEGREES) * level_B * sign_B)[:, None, None]
    middle_y, middle_x = images.shape[2] / 2, images.shape[3] / 2

    def source(y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        y, x = y - middle_y, x - middle_x
        return y * angle.cos() + x * angle.sin() + middle_y, x * angle.cos() - y * angle.sin() + middle_x

    return _moved(images, source)


def brightness(images: Tensor, level_B: Tensor, sign_B: Tensor) -> Tensor:
    return _blended(images.float(), torch.zeros_like(images, dtype=torch.float32), level_B, sign_B)


def color(images: Tensor, level_B: Tensor, sign_B: Tensor) -> Tensor:
    return _blended(images.float(), grey(images).expand(images.shape), level_B, sign_B)


def contrast(images: Tensor, level_B: Tensor, sign_B: Tensor) -> Tensor:
    mean = grey(images).floor().mean(dim=(1, 2, 3), keepdim=True)
    return _blended(images.float(), mean.expand(images.shape), level_B, sign_B)


def sharpness(images: Tensor, level_B: Tensor, sign_B: Tensor) -> Tensor:
    """Against the image smoothed by a 3x3 kernel with 5 in its middle; the border stays as it is."""
    if min(images.shape[2:]) < 3:
        return images
    kernel = torch.ones(3, 3, device=images.device)
    kernel[1, 1] = 5.0
    weight = (kernel / kernel.sum()).expand(images.shape[1], 1, 3, 3)
    smooth = images.float()
    smooth[:, :, 1:-1, 1:-1] = F.conv2d(images.float(), weight, groups=images.shape[1]).round()
    return _blended(images.float(), smooth, level_B, sign_B)


def posterize(images: Tensor, level_B: Tensor, _sign_B: Tensor) -> Tensor:
    """Keep the highest bits of each value, 8 down to 2 of them."""
    bits = 8 - (level_B * (8 - FEWEST_BITS)).round().long()
    mask = (256 - 2 ** (8 - bits)).to(torch.uint8)
    return images & mask[:, None, None, None]


def solarize(images: Tensor, level_B: Tensor, _sign_B: Tensor) -> Tensor:
    """Invert values from a threshold on, which falls from 255 to 0."""
    return torch.where(images >= (255.0 * (1.0 - level_B))[:, None, None, None], 255 - images, images)


def autocontrast(images: Tensor, _level_B: Tensor, _sign_B: Tensor) -> Tensor:
    """Stretch each channel to 0..255; a constant one stays."""
    low = images.amin(dim=(2, 3), keepdim=True).float()
    high = images.amax(dim=(2, 3), keepdim=True).float()
    stretched = (images.float() - low) * (255.0 / (high - low).clamp(min=1.0))
    return torch.where(high > low, stretched.clamp(0.0, 255.0), images.float()).to(torch.uint8)


def equalize(images: Tensor, _level_B: Tensor, _sign_B: Tensor) -> Tensor:
    """Spread each channel's values evenly, by its histogram, as Pillow does."""
    planes, values = images.shape[0] * images.shape[1], images.flatten(2).flatten(0, 1).long()
    histogram = torch.zeros(planes, 256, dtype=torch.int64, device=images.device)
    histogram.scatter_add_(1, values, torch.ones_like(values))
    highest = histogram.gather(1, values.amax(dim=1, keepdim=True))
    step = (values.shape[1] - highest) // 255
    below = histogram.cumsum(dim=1) - histogram
    table = ((below + step // 2) // step.clamp(min=1)).clamp(max=255)
    table = torch.where(step > 0, table, torch.arange(256, device=images.device))
    return table.gather(1, values).view(images.shape).to(torch.uint8)


def identity(images: Tensor, _level_B: Tensor, _sign_B: Tensor) -> Tensor:
    return images


OPERATIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    operation.__name__: operation
    for operation in (
        identity,
        shear_x,
        shear_y,
        translate_x,
        translate_y,
        rotate,
        brightness,
        color,
        contrast,
        sharpness,
        posterize,
        solarize,
        autocontrast,
        equalize,
    )
}


def _moved(images: Tensor, source: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """Each pixel from the nearest to `source` of its centre's (y, x) in pixels, (1, H, 1) and (1, 1, W)."""
    num_images, channels, height, width = images.shape
    y = torch.arange(height, device=images.device)[None, :, None] + 0.5
    x = torch.arange(width, device=images.device)[None, None, :] + 0.5
    from_y, from_x = (position.floor().long().expand(num_images, height, width) for position in source(y, x))
    inside = (from_y >= 0) & (from_y < height) & (from_x >= 0) & (from_x < width)
    index = (from_y.clamp(0, height - 1) * width + from_x.clamp(0, width - 1)).flatten(1)
    moved = images.flatten(2).gather(2, index[:, None].expand(num_images, channels, -1)).view(images.shape)
    return moved * inside[:, None]


def _blended(images: Tensor, other: Tensor, level_B: Tensor, sign_B: Tensor) -> Tensor:
    """Between and beyond two images: factor 1 is the first, 0 the second; it goes from 0.01 to 1.99."""
    factor = (1.0 + MOST_CHANGE * level_B * sign_B)[:, None, None, None]
    return (factor * images + (1.0 - factor) * other).clamp(0.0, 255.0).to(torch.uint8)


def grey(images: Tensor) -> Tensor:
    """Brightness, (B, 1, H, W) float32; an image of one channel is its own."""
    if images.shape[1] == 1:
        return images.float()
    weights = sent(torch.tensor(GREY), images.device)[None, :, None, None]
    return (images.float() * weights).sum(dim=1, keepdim=True)
