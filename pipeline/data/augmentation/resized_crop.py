"""Random resized crops: which part of an image is seen, as a function of (seed, epoch, image)."""

import math

import torch
from torch import Tensor

from pipeline.data.augmentation.params import ResizedCropParams
from pipeline.data.augmentation.streams import stream_seed, uniform
from pipeline.images.crop import CropDraw

AREA_STREAM = 15
"""Number of a stream of random numbers, as the three below; trivial.py has those before."""
SHAPE_STREAM = 16
ACROSS_STREAM = 17
DOWN_STREAM = 18


def draw_crops(samples_B: Tensor, params: ResizedCropParams, seed: int, epoch: int) -> list[CropDraw]:
    """A box for each of some samples, (B,) row numbers: its share of the area, its shape and its place are
    uniform, the shape by its logarithm.
    """
    of_epoch, (smallest, largest) = stream_seed("augment", seed, epoch), params.scale
    least, most = map(math.log, params.ratio)
    draws_B4 = torch.stack(
        [
            uniform(samples_B, of_epoch, stream).double()
            for stream in (AREA_STREAM, SHAPE_STREAM, ACROSS_STREAM, DOWN_STREAM)
        ],
        dim=1,
    )
    return [
        CropDraw(smallest + (largest - smallest) * area, least, most, shape, across, down)
        for area, shape, across, down in draws_B4.tolist()
    ]
