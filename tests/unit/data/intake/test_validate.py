"""Single rows: what becomes pixels, and what becomes a defect with a reason."""

import struct
import warnings
import zlib
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from pipeline.data.intake import validate
from pipeline.data.intake.defect import Defect
from pipeline.data.intake.validate import RowCheck, doubts_noted
from tests.support.data_samples import encoded, pixels, png

MAX_PIXELS = 50_000_000
CHECK = RowCheck(height=4, width=4, channels=3, max_pixels=MAX_PIXELS, raw_shape=None, targets={}, classes={})
GREY = replace(CHECK, channels=1)
RAW = replace(CHECK, raw_shape=(4, 4, 3))


def defect(data: bytes | None, check: RowCheck = CHECK) -> tuple[str, str]:
    with doubts_noted(), pytest.raises(Defect) as caught:
        check.pixels(data)
    return caught.value.reason, caught.value.detail


def png_header(width: int, height: int, depth: int = 8, colour: int = 2, content: bytes = b"") -> bytes:
    """A PNG made by hand, for what Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(content))
        + chunk(b"IEND", b"")
    )


def test_pixels_come_through_unchanged() -> None:
    assert CHECK.pixels(png(1)) == pixels(1).tobytes()
    assert RAW.pixels(pixels(1).tobytes()) == pixels(1).tobytes()


def test_grey_becomes_rgb_and_rgb_grey() -> None:
    grey = encoded(Image.new("L", (4, 4), 77))
    assert CHECK.pixels(grey) == bytes([77]) * 48
    assert replace(RAW, channels=1).pixels(bytes([255, 0, 0]) * 16) == bytes([76]) * 16


def test_shrinking_is_antialiased() -> None:
    # A chessboard of single pixels has one right answer when it is halved: grey everywhere.
    board = ((np.indices((8, 8)).sum(axis=0) % 2) * 255).astype(np.uint8)
    shrunk = np.frombuffer(CHECK.pixels(encoded(Image.fromarray(board))), np.uint8)
    assert shrunk.min() > 100
    assert shrunk.max() < 156


def test_exif_orientation_is_applied() -> None:
    image = Image.fromarray(pixels(3))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees to be upright
    assert CHECK.pixels(encoded(image, exif=exif)) == np.rot90(pixels(3), k=-1).tobytes()


def test_transparent_pixels_are_white_whatever_colour_they_hide() -> None:
    image = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    image.putpixel((0, 0), (10, 20, 30, 255))
    shown = CHECK.pixels(encoded(image))
    assert shown[:6] == bytes([10, 20, 30, 255, 255, 255])


def test_null_image() -> None:
    assert defect(None)[0] == "null image"


def test_truncated_jpeg() -> None:
    whole = encoded(Image.fromarray(pixels(0, 64, 64)), "JPEG")
    reason, detail = defect(whole[: len(whole) // 2])
    assert reason == "undecodable image"
    assert "truncated" in detail


def test_bytes_that_are_no_image_have_a_repeatable_detail() -> None:
    assert defect(b"hello") == (
        "undecodable image",
        "5 bytes that are none of BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP",
    )


def test_formats_that_start_programs_are_not_opened() -> None:
    postscript = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\nshowpage\n%%EOF\n"
    assert defect(postscript)[0] == "undecodable image"


@pytest.mark.parametrize("side", [int(MAX_PIXELS**0.5) + 1, 11_000, 30_000])
def test_decompression_bomb_is_stopped_at_the_header(side: int) -> None:
    reason, detail = defect(png_header(side, side))
    assert reason == "too many pixels"
    assert str(MAX_PIXELS) in detail


def test_sixteen_bits() -> None:
    grey = encoded(Image.fromarray(np.full((4, 4), 40_000, np.uint16)))
    rgb = png_header(4, 4, depth=16, content=(b"\x00" + bytes(4 * 6)) * 4)
    assert defect(grey)[0] == "16-bit pixels"
    assert defect(rgb)[0] == "16-bit pixels"


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_frames(kind: str) -> None:
    frames = [Image.fromarray(pixels(number)) for number in range(2)]
    assert defect(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))[0] == "several frames"


def test_photograph_with_a_preview_behind_it_is_one_image() -> None:
    photo, preview = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (2, 2), "blue")
    shown = CHECK.pixels(encoded(photo, "MPO", save_all=True, append_images=[preview]))
    assert shown[0] > 200, "red"
    assert shown[2] < 50, "not blue"


def test_wrong_raw_length_names_the_one_needed() -> None:
    assert defect(bytes(47), RAW) == ("wrong raw length", "47 bytes, but data.raw_shape needs 4 x 4 x 3 = 48")


def bmp32(alpha: int) -> bytes:
    """A BMP of 12 x 12 pixels of 32 bits, by hand: Pillow writes none with an alpha channel
    (BITMAPV4HEADER).
    """
    shape = np.full((12, 12, 4), 100, np.uint8)
    shape[:6, :, 0] = 200
    shape[..., 3] = alpha
    header = struct.pack("<IiiHHIIiiII", 108, 12, 12, 1, 32, 3, shape.nbytes, 2835, 2835, 0, 0)
    header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"sRGB" + bytes(48)
    start = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", start + shape.nbytes, 0, 0, start) + header + shape.tobytes()


def test_a_bmp_whose_fourth_byte_is_unused_is_its_picture() -> None:
    whole = replace(CHECK, height=12, width=12)
    seen, opaque, half = (np.frombuffer(whole.pixels(bmp32(alpha)), np.uint8) for alpha in (0, 255, 128))
    assert seen.tolist() == opaque.tolist()
    assert set(seen.tolist()) == {100, 200}
    assert half.min() > 150, "on white"


def cut_exif(kind: str, length: int) -> bytes:
    """Half red, half blue, with an EXIF block of which only the first bytes are there."""
    image, exif = Image.new("RGB", (40, 40), "red"), Image.Exif()
    image.paste("blue", (0, 20, 40, 40))
    exif[0x0112] = 6
    return encoded(image, kind, exif=exif.tobytes()[:length])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("length", [10, 14, 20, 24])
@pytest.mark.parametrize("filters", ["error", "ignore"])
def test_damaged_exif_data_cost_no_picture(
    kind: str, length: int, filters: Literal["error", "ignore"]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter(filters)
        with doubts_noted():
            seen = np.frombuffer(CHECK.pixels(cut_exif(kind, length)), np.uint8).reshape(4, 4, 3)
    assert seen[0, 0, 0] > 200, "red above, as it is stored"
    assert seen[3, 3, 2] > 200


def planar_tiff() -> bytes:
    """4 x 4 pixels of one colour, a plane after the other, which the last of the tags at its end says."""
    planes = b"".join(bytes([value] * 16) for value in (200, 100, 50))
    lists = struct.pack("<3H6I", 8, 8, 8, 8, 24, 40, 16, 16, 16)
    at = 8 + len(planes)
    tags = [
        (256, 3, 1, 4),
        (257, 3, 1, 4),
        (258, 3, 3, at),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 3, at + 6),
    ]
    tags += [(277, 3, 1, 3), (278, 3, 1, 4), (279, 4, 3, at + 18), (284, 3, 1, 2)]
    ends = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return b"II*\0" + struct.pack("<I", at + len(lists)) + planes + lists + ends


def test_doubts_about_a_tiff_are_doubts_about_its_pixels() -> None:
    """Without its last tag Pillow gives another colour, and a warning."""
    whole = planar_tiff()
    assert CHECK.pixels(whole) == bytes([200, 100, 50] * 16)
    assert defect(whole[:-16])[1].startswith("Corrupt EXIF data. Expecting to read 12 bytes")
    with pytest.warns(UserWarning, match="Corrupt"):
        assert CHECK.pixels(whole[:-16]) != CHECK.pixels(whole), "the twin: nobody notes"


def test_warnings_of_others_are_shown_as_before() -> None:
    with pytest.warns(UserWarning, match="of another"), doubts_noted():
        warnings.warn("of another", stacklevel=1)


GREEN = (60, 160, 90)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "TIFF"),
        ("RGBA", "PNG"),
        ("RGBA", "TIFF"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("YCbCr", "JPEG"),
        ("YCbCr", "TIFF"),
        ("LAB", "TIFF"),
    ],
)
def test_every_colour_space_is_the_same_colour(mode: str, kind: str) -> None:
    colour = Image.new("RGB", (8, 8), GREEN)
    lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    made = {"LAB": lambda: ImageCms.applyTransform(colour, lab), "P": colour.quantize}
    image = made.get(mode, lambda: colour.convert(mode))()
    assert image is not None
    data = encoded(image, kind)
    assert list(CHECK.pixels(data)[:3]) == pytest.approx(GREEN, abs=4)
    assert GREY.pixels(data)[0] == pytest.approx(colour.convert("L").getpixel((0, 0)), abs=4)


@pytest.mark.parametrize(
    ("mode", "kind"), [("1", "PNG"), ("1", "TIFF"), ("1", "BMP"), ("LA", "PNG"), ("L", "PPM")]
)
def test_every_kind_of_grey_is_grey(mode: str, kind: str) -> None:
    data = encoded(Image.new("L", (8, 8), 255).convert(mode), kind)
    assert CHECK.pixels(data) == b"\xff" * 48
    assert GREY.pixels(data) == b"\xff" * 16


def test_modes_of_transparency_that_few_files_have_are_laid_on_white() -> None:
    palette = Image.new("P", (4, 4))
    palette.putalpha(0)
    images = [palette, Image.new("LA", (4, 4)).convert("La"), Image.new("RGBA", (4, 4)).convert("RGBa")]
    assert [image.mode for image in images] == ["PA", "La", "RGBa"]
    assert [GREY._fit(image) for image in images] == [b"\xff" * 16] * 3


def test_what_pillow_cannot_convert_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(validate.ON_THE_WAY, "LAB")
    lab = encoded(Image.new("LAB", (4, 4)), "TIFF")
    reason, detail = defect(lab, GREY)
    assert (reason, detail[:31]) == ("undecodable image", "ValueError: conversion from LAB")


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
def test_a_photograph_of_48_million_pixels_is_decoded_smaller(kind: str) -> None:
    data = encoded(Image.new("RGB", (8064, 6048), (90, 120, 30)), kind, quality=70)
    assert validate._decode(data, MAX_PIXELS).size == (4032, 3024)
    assert list(CHECK.pixels(data)[:3]) == pytest.approx((90, 120, 30), abs=3)
    reason, detail = defect(data, replace(CHECK, max_pixels=40_000_000))
    assert (reason, detail[:12]) == ("too many pixels", "8064 x 6048,")
    assert "data.max_pixels allows 40000000" in detail


def test_a_photograph_of_ordinary_size_is_decoded_whole() -> None:
    data = encoded(Image.fromarray(pixels(0, 600, 800)), "JPEG")
    assert validate._decode(data, MAX_PIXELS).size == (800, 600)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"]),
    st.integers(0),
    st.integers(1, 255),
    st.booleans(),
)
def test_damaged_files_give_pixels_or_a_defect_never_another_error(
    kind: str, place: int, change: int, cut: bool
) -> None:
    data = bytearray(encoded(Image.fromarray(pixels(0, 16, 16)), kind))
    place %= len(data)
    data[place] ^= change
    result: bytes | Defect
    with doubts_noted():
        try:
            result = CHECK.pixels(bytes(data[:place] if cut else data))
        except Defect as found:
            result = found
    if isinstance(result, Defect):
        assert result.reason
        assert " at 0x" not in result.detail
    else:
        assert len(result) == 48
