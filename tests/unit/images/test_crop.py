"""Boxes of random resized crops, and what is shown of them."""

import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.images.crop import CropDraw, cropped, cropped_file
from pipeline.images.rule import ImageRule
from tests.support.data_samples import STRETCH, encoded, photo

RULE = ImageRule(24, 32, 3, STRETCH, "refuse")
LEAST, MOST = math.log(3 / 4), math.log(4 / 3)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.floats(0.01, 1.0),
    st.tuples(*[st.floats(0.0, 1.0)] * 3),
    st.integers(1, 5000),
    st.integers(1, 5000),
)
def test_a_box_lies_in_the_image_and_has_the_area_that_was_drawn(
    area: float, places: tuple[float, float, float], w: int, h: int
) -> None:
    left, top, right, bottom = CropDraw(area, LEAST, MOST, *places).box(w, h)
    assert 0 <= left < right <= w
    assert 0 <= top < bottom <= h
    assert (right - left) * (bottom - top) == pytest.approx(area * w * h, rel=1e-6)
    ratio = (right - left) / (bottom - top)
    fits = area * w / h * 1.001 < 4 / 3 and w / (area * h) > 3 / 4 * 1.001
    assert not fits or ratio * 1.000001 >= 3 / 4
    assert not fits or ratio <= 4 / 3 * 1.000001


def test_a_file_is_decoded_smaller_if_its_box_is_shown_smaller() -> None:
    image = photo(1, 640, 480)
    data = encoded(image, "JPEG", quality=95)
    draws = [CropDraw(area, LEAST, MOST, 0.4, 0.3, 0.7) for area in (1.0, 0.3, 0.05)]
    for draw in draws:
        whole = cropped(Image.open(io.BytesIO(data)), draw, RULE).astype(int)
        found = cropped_file(data, draw, RULE)
        assert found.shape == (24, 32, 3)
        assert np.abs(found - whole).mean() < 3
