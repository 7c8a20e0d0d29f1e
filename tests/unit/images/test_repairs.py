"""What is mended in the copy of an image is noted by reason; what is as it should be has no repair."""

import io
from typing import Any

import pytest
from PIL import ExifTags, Image

from pipeline.images import repairs
from pipeline.images.decode import decoded, doubts_noted
from pipeline.images.rule import ImageRule
from tests.support.data_samples import STRETCH, encoded

RULE = ImageRule(height=4, width=4, channels=3, resize=STRETCH, sixteen_bit="upper_byte")
PHOTO = Image.new("RGB", (8, 6), (200, 10, 10))


def repairs_of(data: bytes) -> list[str]:
    found: list[str] = []
    with doubts_noted():
        decoded(data, RULE, 1000, repairs=found)
    return found


def turned(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encoded(PHOTO, "JPEG", exif=exif)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (turned(6), [repairs.MADE_UPRIGHT]),
        (encoded(Image.new("RGBA", (8, 6), (1, 2, 3, 4))), [repairs.ON_WHITE]),
        (encoded(Image.new("CMYK", (8, 6)), "JPEG"), [repairs.CONVERTED]),
        (encoded(Image.new("I;16", (8, 6), 5000)), [repairs.UPPER_BYTES]),
        (encoded(PHOTO, "JPEG") + b"more", [repairs.ODD_END]),
        (encoded(PHOTO) + b"more", [repairs.ODD_END]),
        (encoded(PHOTO, "WEBP") + b"more", [repairs.ODD_END]),
        (turned(6) + b"more", [repairs.ODD_END, repairs.MADE_UPRIGHT]),
    ],
)
def test_a_repair_is_noted(data: bytes, expected: list[str]) -> None:
    assert repairs_of(data) == expected


def test_damaged_exif_is_noted() -> None:
    file = io.BytesIO()
    PHOTO.save(file, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + bytes(8))
    assert repairs_of(file.getvalue()) == [repairs.METADATA]


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("PNG", {}), ("WEBP", {}), ("GIF", {}), ("BMP", {}), ("TIFF", {}), ("PPM", {})],
)
def test_a_file_as_it_should_be_has_none(kind: str, options: dict[str, Any]) -> None:
    assert repairs_of(encoded(PHOTO, kind, **options)) == []
    if kind == "PNG":
        assert repairs_of(encoded(Image.new("RGBA", (8, 6), (1, 2, 3, 255)))) == [], "opaque everywhere"
    if kind == "JPEG":
        assert repairs_of(turned(1)) == []
