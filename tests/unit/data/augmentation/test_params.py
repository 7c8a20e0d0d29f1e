"""Section augment: bounds."""

import pytest

from pipeline.base.params import parse_section
from pipeline.data.augmentation.params import AugmentParams
from pipeline.errors import ParamsError
from tests.support.fit_samples import BASE

CROP = {"scale": [0.08, 1.0], "ratio": [0.75, 1.3333]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flip": "often"}, r"augment\.flip is 'often'"),
        (
            {"resized_crop": CROP, "crop_padding": 4},
            r"resized_crop and crop_padding \(4\) exclude each",
        ),
        (
            {"resized_crop": CROP | {"scale": [0.5, 0.2]}},
            r"resized_crop: scale is \[0.5, 0.2\]; write the",
        ),
        ({"resized_crop": CROP | {"scale": [0.5, 2.0]}}, r"resized_crop: scale ends in 2.0"),
        ({"resized_crop": CROP | {"ratio": [1.0]}}, r"resized_crop.ratio is \[1.0\], but"),
        ({"color_jitter": {"brightness": 0.1}}, r"key 'augment.color_jitter.contrast' is missing"),
    ],
)
def test_what_cannot_be_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        parse_section("augment", BASE["augment"] | changes, AugmentParams)
