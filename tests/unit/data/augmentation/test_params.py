"""Section augment: bounds."""

import pytest

from pipeline.base.params import parse_section
from pipeline.data.augmentation.params import AugmentParams
from pipeline.errors import ParamsError


def test_flip_is_one_of_its_words() -> None:
    with pytest.raises(ParamsError, match=r"augment\.flip is 'often'"):
        parse_section("augment", {"flip": "often", "crop_padding": 0, "cutout": 0}, AugmentParams)
