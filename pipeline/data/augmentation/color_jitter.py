"""Colour jitter: brightness, contrast, saturation and hue of each image of a batch, on the batch's device.

All four are affine in red, green and blue, so they are one matrix and one offset for each image. They act in
this order; the hue turns about the grey axis of YIQ, which keeps the brightness.

Letters: B batch, C channels, H height, W width.
"""

import math
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor

from pipeline.data.augmentation.params import ColorJitterParams
from pipeline.data.augmentation.streams import stream_seed, uniform
from pipeline.data.augmentation.trivial import GREY, grey
from pipeline.data.prepared.send import sent

BRIGHTNESS_STREAM = 19
"""Number of a stream of random numbers, as the three below; resized_crop.py has those before."""
CONTRAST_STREAM = 20
SATURATION_STREAM = 21
HUE_STREAM = 22
CHROMA = ((0.596, -0.274, -0.322), (0.211, -0.523, 0.312))
"""I and Q of a colour; its Y is its grey."""


class Jitter(NamedTuple):
    """Factors, 1 for no change, and the turn of the hue in full circles, 0 for none; (B,) each."""

    brightness_B: Tensor
    contrast_B: Tensor
    saturation_B: Tensor
    hue_B: Tensor


def draw_jitter(samples_B: Tensor, params: ColorJitterParams, seed: int, epoch: int) -> Jitter:
    """Changes of some samples, (B,) row numbers."""
    of_epoch = stream_seed("augment", seed, epoch)

    def change(most: float, stream: int) -> Tensor:
        return (uniform(samples_B, of_epoch, stream) * 2 - 1) * most

    return Jitter(
        1 + change(params.brightness, BRIGHTNESS_STREAM),
        1 + change(params.contrast, CONTRAST_STREAM),
        1 + change(params.saturation, SATURATION_STREAM),
        change(params.hue, HUE_STREAM),
    )


def jittered(images_BCHW: Tensor, jitter: Jitter) -> Tensor:
    """uint8 in, uint8 out, in the strides of the images. Grey images have no saturation and no hue."""
    device = images_BCHW.device
    gain_B = sent(jitter.brightness_B * jitter.contrast_B, device)
    # Sums of whole numbers as float64 are exact, so the rest of the batch cannot change an image's mean.
    mean_B = grey(images_BCHW).floor().double().mean(dim=(1, 2, 3)).float()
    offset_B = mean_B * sent(jitter.brightness_B * (1 - jitter.contrast_B), device)
    if images_BCHW.shape[1] == 1:
        found = images_BCHW * _each(gain_B) + _each(offset_B)
    else:
        matrix_B33 = sent(_colours(jitter), device) * gain_B[:, None, None]
        red, green, blue = images_BCHW.float().unbind(1)
        mixed = [
            red * from_B3[:, 0, None, None]
            + green * from_B3[:, 1, None, None]
            + blue * from_B3[:, 2, None, None]
            for from_B3 in matrix_B33.unbind(1)
        ]
        found = torch.stack(mixed, dim=1) + _each(offset_B)
    rounded = found.round_().clamp_(0.0, 255.0).to(torch.uint8)
    return rounded.contiguous(memory_format=torch.channels_last)


def _each(numbers_B: Tensor) -> Tensor:
    return numbers_B[:, None, None, None]


def _colours(jitter: Jitter) -> Tensor:
    """What saturation and hue do to red, green and blue, (B, 3, 3) float32."""
    to_yiq, from_yiq = _yiq()
    turn_B = 2 * math.pi * jitter.hue_B.double()
    chroma_B33 = torch.zeros(len(turn_B), 3, 3, dtype=torch.float64)
    chroma_B33[:, 0, 0] = 1.0
    chroma_B33[:, 1, 1] = chroma_B33[:, 2, 2] = turn_B.cos() * jitter.saturation_B
    chroma_B33[:, 2, 1] = turn_B.sin() * jitter.saturation_B
    chroma_B33[:, 1, 2] = -chroma_B33[:, 2, 1]
    return torch.stack([from_yiq @ each @ to_yiq for each in chroma_B33]).float()


@cache
def _yiq() -> tuple[Tensor, Tensor]:
    to_yiq = torch.tensor([GREY, *CHROMA], dtype=torch.float64)
    return to_yiq, torch.linalg.inv(to_yiq)
