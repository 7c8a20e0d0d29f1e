"""Images of rows: encoded ones, raw pixels, and none."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.data.intake.validate import RowCheck
from pipeline.images.defect import Defect
from pipeline.images.rule import ImageRule
from tests.support.data_samples import STRETCH, pixels, png

RULE = ImageRule(height=4, width=4, channels=3, resize=STRETCH, sixteen_bit="refuse")
CHECK = RowCheck(RULE, max_pixels=16, raw_shape=None, targets={}, classes={})
RAW = replace(CHECK, raw_shape=(4, 4, 3))


def test_pixels_come_through_unchanged() -> None:
    assert CHECK.pixels(png(1)) == pixels(1).tobytes()
    assert RAW.pixels(pixels(1).tobytes()) == pixels(1).tobytes()


def test_raw_pixels_are_brought_to_the_size_and_the_channels_asked_for() -> None:
    assert replace(RAW, rule=RULE._replace(channels=1)).pixels(bytes([255, 0, 0]) * 16) == bytes([76]) * 16
    small = replace(RAW, rule=RULE._replace(height=2, width=2)).pixels(bytes([200] * 24 + [100] * 24))
    assert np.frombuffer(small, np.uint8).reshape(2, 2, 3)[:, 0, 0].tolist() == [186, 114]


def test_wrong_raw_length_names_the_one_needed() -> None:
    with pytest.raises(Defect) as caught:
        RAW.pixels(bytes(47))
    expected = "47 bytes, but data.source.raw_shape needs 4 x 4 x 3 = 48"
    assert caught.value.args == ("wrong raw length", expected)
