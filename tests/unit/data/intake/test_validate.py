"""Images of rows: what becomes of encoded files and of raw pixels, and the copies to train on."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from pipeline.data.intake.store import EncodedStore, PixelStore
from pipeline.data.intake.validate import KeptImage, RowCheck
from pipeline.images.defect import Defect
from pipeline.images.rule import ImageRule
from tests.support.data_samples import STRETCH, data_params, encoded, pixels, png

RULE = ImageRule(height=4, width=4, channels=3, resize=STRETCH, sixteen_bit="refuse")
CHECK = RowCheck(
    RULE,
    PixelStore(kind="pixels"),
    data_params(max_pixels=16).limits,
    raw_shape=None,
    targets={},
    classes={},
)
RAW = replace(CHECK, raw_shape=(4, 4, 3))


def test_pixels_come_through_unchanged() -> None:
    assert CHECK.image(png(1)) == KeptImage(pixels(1).tobytes(), b"", [])
    assert RAW.image(pixels(1).tobytes()) == KeptImage(pixels(1).tobytes())


def test_raw_pixels_are_brought_to_the_size_and_the_channels_asked_for() -> None:
    grey = replace(RAW, rule=RULE._replace(channels=1)).image(bytes([255, 0, 0]) * 16)
    assert grey.pixels == bytes([76]) * 16
    small = replace(RAW, rule=RULE._replace(height=2, width=2)).image(bytes([200] * 24 + [100] * 24))
    assert np.frombuffer(small.pixels, np.uint8).reshape(2, 2, 3)[:, 0, 0].tolist() == [186, 114]


def test_wrong_raw_length_names_the_one_needed() -> None:
    with pytest.raises(Defect) as caught:
        RAW.image(bytes(47))
    expected = "47 bytes, but data.source.raw_shape needs 4 x 4 x 3 = 48"
    assert caught.value.args == ("wrong raw length", expected)


CHECK_LARGE = replace(CHECK, limits=data_params().limits)
ENCODED = replace(CHECK_LARGE, store=EncodedStore(kind="encoded", shorter_side=16, quality=90))


def size_of_copy(check: RowCheck, data: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(check.image(data).copy)) as copy:
        assert (copy.format, copy.mode) == ("JPEG", "RGB")
        return copy.size


@pytest.mark.parametrize(
    ("size", "kept"),
    [((64, 32), (32, 16)), ((33, 80), (16, 39)), ((10, 12), (10, 12)), ((2, 66_000), (2, 65_500))],
)
def test_the_shorter_side_of_a_copy_is_brought_down_never_up(
    size: tuple[int, int], kept: tuple[int, int]
) -> None:
    assert size_of_copy(ENCODED, encoded(Image.new("RGB", size))) == kept


def test_a_copy_is_upright_opaque_and_no_smaller_for_the_scale_at_which_the_pixels_were_decoded() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = encoded(Image.new("RGB", (120, 80), "red"), "JPEG", exif=exif)
    assert size_of_copy(ENCODED, photo) == (16, 24), "decoded at 1/8 for 4 x 4 pixels alone"
    assert ENCODED.image(photo).pixels == CHECK_LARGE.image(photo).pixels
    clear = ENCODED.image(encoded(Image.new("RGBA", (40, 40), (255, 0, 0, 0))))
    assert np.asarray(Image.open(io.BytesIO(clear.copy))).min() == 255


def test_raw_pixels_have_copies_too() -> None:
    raw = replace(ENCODED, raw_shape=(4, 4, 3))
    assert size_of_copy(raw, pixels(1).tobytes()) == (4, 4)
    assert raw.image(pixels(1).tobytes()).pixels == pixels(1).tobytes()
