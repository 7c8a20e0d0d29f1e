"""Single rows: what becomes pixels, and what becomes a defect with a reason."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.data.intake.validate import MAX_PIXELS, Defect, RowCheck, doubts_are_defects
from tests.unit.data_samples import encoded, pixels, png

CHECK = RowCheck(height=4, width=4, channels=3, raw_shape=None, classes=None)
RAW = RowCheck(height=4, width=4, channels=3, raw_shape=(4, 4, 3), classes=None)


def defect(data: bytes | None, check: RowCheck = CHECK) -> tuple[str, str]:
    with doubts_are_defects(), pytest.raises(Defect) as caught:
        check.pixels(data)
    return caught.value.reason, caught.value.detail


def png_header(width: int, height: int, depth: int = 8, colour: int = 2, content: bytes = b"") -> bytes:
    """A PNG made by hand, for what Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(content)) + chunk(b"IEND", b"")


def test_pixels_come_through_unchanged() -> None:
    assert CHECK.pixels(png(1)) == pixels(1).tobytes()
    assert RAW.pixels(pixels(1).tobytes()) == pixels(1).tobytes()


def test_grey_becomes_rgb_and_rgb_grey() -> None:
    grey = encoded(Image.new("L", (4, 4), 77))
    assert CHECK.pixels(grey) == bytes([77]) * 48
    to_grey = RowCheck(height=4, width=4, channels=1, raw_shape=(4, 4, 3), classes=None)
    assert to_grey.pixels(bytes([255, 0, 0]) * 16) == bytes([76]) * 16


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
    assert defect(b"hello") == ("undecodable image", "5 bytes that are none of BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP")


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


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        (None, "null label"),
        ("", "null label"),
        (-1, "label out of range"),
        (2, "label out of range"),
        ("cow", "label out of range"),
    ],
)
def test_bad_labels(label: int | str | None, reason: str) -> None:
    check = RowCheck(height=4, width=4, channels=3, raw_shape=None, classes=["cat", "dog"])
    with pytest.raises(Defect) as caught:
        check.label(label)
    assert caught.value.reason == reason


def test_labels_without_class_list_are_taken_as_they_are() -> None:
    assert [CHECK.label(label) for label in (0, 99, "cow")] == [0, 99, "cow"]


def test_doubts_are_defects_even_where_warnings_are_ignored() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert defect(png_header(10_000, 10_000))[0] == "too many pixels"
        with doubts_are_defects(), pytest.raises(Image.DecompressionBombWarning):
            Image.open(io.BytesIO(png_header(10_000, 10_000)))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM"]), st.integers(0), st.integers(1, 255), st.booleans()
)
def test_damaged_files_give_pixels_or_a_defect_never_another_error(kind: str, place: int, change: int, cut: bool) -> None:
    data = bytearray(encoded(Image.fromarray(pixels(0, 16, 16)), kind))
    place %= len(data)
    data[place] ^= change
    result: bytes | Defect
    with doubts_are_defects():
        try:
            result = CHECK.pixels(bytes(data[:place] if cut else data))
        except Defect as found:
            result = found
    if isinstance(result, Defect):
        assert result.reason
        assert " at 0x" not in result.detail
    else:
        assert len(result) == 48
