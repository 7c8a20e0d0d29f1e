"""Files of every kind: what becomes pixels, and what becomes a defect with a reason."""

import struct
import warnings
import zlib
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from pipeline.images import decode
from pipeline.images import pixels as the_way
from pipeline.images.decode import doubts_noted
from pipeline.images.defect import Defect
from pipeline.images.rule import Crop, ImageRule
from tests.support.data_samples import STRETCH, encoded, pixels, png

MAX_PIXELS = 50_000_000
RULE = ImageRule(height=4, width=4, channels=3, resize=STRETCH, sixteen_bit="refuse")
GREY = RULE._replace(channels=1)
DEEP = RULE._replace(sixteen_bit="upper_byte")


def shown(data: bytes, rule: ImageRule = RULE) -> bytes:
    return the_way.pixels(data, rule, MAX_PIXELS).tobytes()


def defect(data: bytes, rule: ImageRule = RULE, max_pixels: int = MAX_PIXELS) -> tuple[str, str]:
    with doubts_noted(), pytest.raises(Defect) as caught:
        the_way.pixels(data, rule, max_pixels)
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
    assert shown(png(1)) == pixels(1).tobytes()


def test_grey_becomes_rgb_and_rgb_grey() -> None:
    grey = encoded(Image.new("L", (4, 4), 77))
    assert shown(grey) == bytes([77]) * 48
    assert shown(encoded(Image.new("RGB", (4, 4), "red")), GREY) == bytes([76]) * 16


def test_shrinking_is_antialiased() -> None:
    # A chessboard of single pixels has one right answer when it is halved: grey everywhere.
    board = ((np.indices((8, 8)).sum(axis=0) % 2) * 255).astype(np.uint8)
    shrunk = np.frombuffer(shown(encoded(Image.fromarray(board))), np.uint8)
    assert shrunk.min() > 100
    assert shrunk.max() < 156


def test_exif_orientation_is_applied() -> None:
    image = Image.fromarray(pixels(3))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees to be upright
    assert shown(encoded(image, exif=exif)) == np.rot90(pixels(3), k=-1).tobytes()


def test_transparent_pixels_are_white_whatever_colour_they_hide() -> None:
    image = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    image.putpixel((0, 0), (10, 20, 30, 255))
    assert shown(encoded(image))[:6] == bytes([10, 20, 30, 255, 255, 255])


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
    found = shown(encoded(photo, "MPO", save_all=True, append_images=[preview]))
    assert found[0] > 200, "red"
    assert found[2] < 50, "not blue"


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
    whole = RULE._replace(height=12, width=12)
    seen, opaque, half = (np.frombuffer(shown(bmp32(alpha), whole), np.uint8) for alpha in (0, 255, 128))
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
            seen = np.frombuffer(shown(cut_exif(kind, length)), np.uint8).reshape(4, 4, 3)
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
    assert shown(whole) == bytes([200, 100, 50] * 16)
    assert defect(whole[:-16])[1].startswith("Corrupt EXIF data. Expecting to read 12 bytes")
    with pytest.warns(UserWarning, match="Corrupt"):
        assert shown(whole[:-16]) != shown(whole), "the twin: nobody notes"


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
    assert list(shown(data)[:3]) == pytest.approx(GREEN, abs=4)
    assert shown(data, GREY)[0] == pytest.approx(colour.convert("L").getpixel((0, 0)), abs=4)


@pytest.mark.parametrize(
    ("mode", "kind"), [("1", "PNG"), ("1", "TIFF"), ("1", "BMP"), ("LA", "PNG"), ("L", "PPM")]
)
def test_every_kind_of_grey_is_grey(mode: str, kind: str) -> None:
    data = encoded(Image.new("L", (8, 8), 255).convert(mode), kind)
    assert shown(data) == b"\xff" * 48
    assert shown(data, GREY) == b"\xff" * 16


def test_modes_of_transparency_that_few_files_have_are_laid_on_white() -> None:
    palette = Image.new("P", (4, 4))
    palette.putalpha(0)
    images = [palette, Image.new("LA", (4, 4)).convert("La"), Image.new("RGBA", (4, 4)).convert("RGBa")]
    assert [image.mode for image in images] == ["PA", "La", "RGBa"]
    assert [decode.flattened(image, GREY, []).tobytes() for image in images] == [b"\xff" * 16] * 3


def test_what_pillow_cannot_convert_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(decode.ON_THE_WAY, "LAB")
    lab = encoded(Image.new("LAB", (4, 4)), "TIFF")
    reason, detail = defect(lab, GREY)
    assert (reason, detail[:31]) == ("undecodable image", "ValueError: conversion from LAB")


LARGE = ImageRule(2048, 2048, 3, STRETCH, "refuse")


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
def test_a_photograph_of_48_million_pixels_is_decoded_smaller(kind: str) -> None:
    data = encoded(Image.new("RGB", (8064, 6048), (90, 120, 30)), kind, quality=70)
    assert decode.decoded(data, LARGE, MAX_PIXELS).size == (4032, 3024)
    assert list(shown(data)[:3]) == pytest.approx((90, 120, 30), abs=3)
    reason, detail = defect(data, max_pixels=40_000_000)
    assert (reason, detail[:12]) == ("too many pixels", "8064 x 6048,")
    assert "data.limits.max_pixels allows 40000000" in detail


@pytest.mark.parametrize(
    ("needed", "size"), [(151, (800, 600)), (150, (400, 300)), (75, (200, 150)), (9, (100, 75))]
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_jpeg_is_decoded_at_the_scale_that_leaves_twice_what_is_needed(
    needed: int, size: tuple[int, int], turned: bool
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6 if turned else 1
    data = encoded(Image.new("RGB", (800, 600)), "JPEG", exif=exif)
    rule = ImageRule(8, 8, 3, Crop(rule="crop", size=needed, filter="bilinear"), "refuse")
    assert decode.decoded(data, rule, MAX_PIXELS).size == (size[::-1] if turned else size)
    assert decode.decoded(encoded(Image.new("RGB", (800, 600))), rule, MAX_PIXELS).size == (800, 600), "PNG"


def test_sixteen_bits_are_their_upper_bytes_if_that_is_asked_for() -> None:
    values = np.arange(16, dtype=np.uint16).reshape(4, 4) * 4_096 + 255
    upper = (values >> 8).astype(np.uint8)
    for kind in ("PNG", "TIFF", "PPM"):
        grey = encoded(Image.fromarray(values), kind)
        assert shown(grey, DEEP._replace(channels=1)) == upper.tobytes(), kind
    colours = np.stack([values, np.zeros_like(values), np.full_like(values, 65_535)], axis=2).astype(">u2")
    lines = b"".join(b"\0" + line.tobytes() for line in colours)
    rgb = np.frombuffer(shown(png_header(4, 4, depth=16, content=lines), DEEP), np.uint8)
    assert rgb[::3].tolist() == upper.flatten().tolist()
    assert set(rgb[2::3].tolist()) == {255}
    assert defect(encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"), DEEP)[0] == "16-bit pixels"
    assert defect(encoded(Image.fromarray(np.ones((4, 4), np.int32)), "TIFF"), DEEP)[0] == "16-bit pixels"


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
            result = shown(bytes(data[:place] if cut else data))
        except Defect as found:
            result = found
    if isinstance(result, Defect):
        assert result.reason
        assert " at 0x" not in result.detail
    else:
        assert len(result) == 48
