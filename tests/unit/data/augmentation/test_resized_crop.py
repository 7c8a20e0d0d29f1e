"""Random resized crops: their distribution, and that they depend on seed, epoch and row alone."""

import math

import numpy as np
import pytest
import torch

from pipeline.data.augmentation.params import ResizedCropParams
from pipeline.data.augmentation.resized_crop import draw_crops

PARAMS = ResizedCropParams(scale=[0.08, 1.0], ratio=[0.75, 1.3333])


def test_a_crop_depends_on_seed_epoch_and_row_alone() -> None:
    rows = torch.tensor([7, 1, 7])
    together = draw_crops(rows, PARAMS, 1, 2)
    assert together == [draw_crops(row[None], PARAMS, 1, 2)[0] for row in rows]
    assert together[0] == together[2] != together[1]
    assert draw_crops(rows, PARAMS, 1, 3) != together != draw_crops(rows, PARAMS, 2, 2)


def test_area_shape_and_place_are_spread_evenly() -> None:
    drawn = draw_crops(torch.arange(20_000), PARAMS, 0, 0)
    boxes = np.array([draw.box(1000, 1000) for draw in drawn if draw.area < 0.5])
    width, height = (boxes[:, 2] - boxes[:, 0]), (boxes[:, 3] - boxes[:, 1])
    assert np.mean([draw.area for draw in drawn]) == pytest.approx(0.54, abs=0.01)
    assert np.log(width / height).mean() == pytest.approx((math.log(0.75) + math.log(1.3333)) / 2, abs=0.01)
    assert (width / height).min() == pytest.approx(0.75, abs=0.01)
    for first, side in ((boxes[:, 0], width), (boxes[:, 1], height)):
        places = first / (1000 - side)
        assert np.histogram(places, 10, (0, 1))[0].min() > 0.08 * len(places)
