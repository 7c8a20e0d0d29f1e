"""Decoding: a file's bytes become an upright image without transparency, or a Defect."""

import io
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from pipeline.images.defect import Defect
from pipeline.images.repairs import (
    CONVERTED,
    MADE_UPRIGHT,
    METADATA,
    ODD_END,
    ON_WHITE,
    UNUSED_ALPHA,
    UPPER_BYTES,
    ends_oddly,
)
from pipeline.images.rule import ImageRule

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""No format that starts other programs (EPS) or holds many pictures by design (ICO, PSD)."""
REDUCED_ABOVE = 40_000_000
"""Pixels, 120 MB as RGB: a larger JPEG is decoded at a half, a quarter or an eighth of its size."""
REDUCING_GAP = 2
"""How many times as long as the rule needs it a JPEG's shorter side stays if it is decoded at such a part of
its size: the filter that comes after hides what decoding at once in full would show."""
SCALES = (8, 4, 2)
SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
DEEP_MODES = ("I", "F", *SIXTEEN_BIT_MODES)
PILLOW_MODES = {1: "L", 3: "RGB"}
"""Modes of the images that come out, by channels."""
OTHER_COLOURS = ("CMYK", "YCbCr", "LAB", "HSV")
"""Modes whose colours are others until they are converted."""
HOLD_ORIENTATION = {"exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp"}
"""Where Pillow finds the orientation of what is no TIFF."""
OPAQUE = 255
ON_THE_WAY = {"LAB": "RGB", "La": "LA"}
"""Modes that Pillow converts to few others, and one of these."""
UPRIGHT_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by EXIF orientation."""


class _Doubts(threading.local):
    """What Pillow warned of while this thread decoded an image."""

    def __init__(self) -> None:
        self.found: list[str] = []


_doubts = _Doubts()


@contextmanager
def doubts_noted() -> Iterator[None]:
    """Note Pillow's warnings, during the block, for the image they are about, whatever the filters say.

    Filters belong to the process: enter it once around all decoding threads, never inside one.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("always", module=r"PIL\.")
        show = warnings.showwarning

        def note(
            message: Warning | str, category: type[Warning], filename: str, lineno: int, *where: Any
        ) -> None:
            if "PIL" in Path(filename).parts:
                _doubts.found.append(str(message))
            else:
                show(message, category, filename, lineno, *where)

        warnings.showwarning = note  # type: ignore[assignment]
        yield


def decoded(
    data: bytes,
    rule: ImageRule,
    max_pixels: int,
    shorter_side: int | None = None,
    repairs: list[str] | None = None,
) -> Image.Image:
    """The image of a file, grey or RGB as the rule says, in its own size or, of a large JPEG, a part of it.

    shorter_side: what is needed of it, in pixels, if that is not what the rule needs. repairs: where it is
    noted what was mended (repairs.py).
    Raises Defect if it is damaged, of a kind that would mislead, or of more than `max_pixels`; MemoryError.
    """
    noted: list[str] = [] if repairs is None else repairs
    try:
        image = _decode(data, rule, max_pixels, shorter_side or rule.shorter_side, noted)
        return flattened(image, rule, noted)
    except (Defect, MemoryError):
        raise
    except Image.DecompressionBombError as error:  # of more pixels than max_pixels can allow
        raise _too_large("more", max_pixels) from error
    except UnidentifiedImageError as error:  # its message holds a memory address
        raise Defect(
            "undecodable image", f"{len(data)} bytes that are none of {', '.join(FORMATS)}"
        ) from error
    except Exception as error:  # Pillow's plugins raise almost any kind for malformed bytes
        detail = re.sub(r" at 0x[0-9a-f]+", "", f"{type(error).__name__}: {error}")
        raise Defect("undecodable image", " ".join(detail.split())) from error


def flattened(image: Image.Image, rule: ImageRule, repairs: list[str]) -> Image.Image:
    """The image in grey or RGB, what is transparent on white. repairs: as of decoded()."""
    if image.mode in OTHER_COLOURS:
        repairs.append(CONVERTED)
    if image.mode in ON_THE_WAY:
        image = image.convert(ON_THE_WAY[image.mode])
    image = _opaque(image, repairs)
    mode = PILLOW_MODES[rule.channels]
    return image if image.mode == mode else image.convert(mode)


def _too_large(size: str, max_pixels: int) -> Defect:
    return Defect(
        "too many pixels",
        f"{size}, but data.limits.max_pixels allows {max_pixels}; shrink the image, or raise it",
    )


def _decode(
    data: bytes, rule: ImageRule, max_pixels: int, shorter_side: int, repairs: list[str]
) -> Image.Image:
    """An upright, fully decoded image. Raises Defect, and whatever Pillow raises."""
    _doubts.found.clear()
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check_header(image, rule, max_pixels)
        if image.format in ("JPEG", "MPO"):
            _reduce_scale(image, shorter_side)
        image.load()  # `verify` would pass truncated JPEGs
        # The tags of a TIFF say what its pixels mean. Doubt about EXIF, which others have, is no damage of
        # their pixels.
        if image.format == "TIFF" and _doubts.found:
            raise Defect("undecodable image", " ".join(_doubts.found[0].split()))
        if ends_oddly(data, image.format):
            repairs.append(ODD_END)
        return _upright(_without_unused_alpha(_eight_bit(image, repairs), repairs), repairs)


def _check_header(image: ImageFile.ImageFile, rule: ImageRule, max_pixels: int) -> None:
    """Refuse, before decoding, what would be decoded into something else than the picture meant."""
    width, height = image.size
    if width * height > max_pixels:
        raise _too_large(f"{width} x {height}", max_pixels)
    # An MPO is a photograph with previews behind it, so its first frame is the picture.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise Defect("several frames", "an animation or several pages; keep one image in a row")
    if rule.sixteen_bit == "upper_byte" and _is_sixteen_bit(image):
        return
    if image.mode in DEEP_MODES or _is_deep_colour(image):
        raise Defect(
            "16-bit pixels",
            f"mode {image.mode} with more than 8 bits; scale the values to 8 bits as they mean it",
        )


def _reduce_scale(image: ImageFile.ImageFile, shorter_side: int) -> None:
    """Let a large JPEG be decoded at 1/2, 1/4 or 1/8 of its size, in a part of the time and memory.

    shorter_side: what is needed of it, in pixels. A very large one is decoded smaller than that if it must.
    """
    width, height = image.size
    fine = [scale for scale in SCALES if min(width, height) >= scale * REDUCING_GAP * shorter_side]
    light = [scale for scale in SCALES if width * height <= REDUCED_ABOVE * scale**2]
    least = 1 if width * height <= REDUCED_ABOVE else min(light, default=SCALES[0])
    scale = max(fine[0] if fine else 1, least)
    if scale > 1:
        image.draft(None, (width // scale, height // scale))


def _is_sixteen_bit(image: ImageFile.ImageFile) -> bool:
    """Integers of 16 bits a channel. Pillow reads a grey PPM's as of 32 bits, and keeps upper bytes of
    colours.
    """
    return (
        image.mode in SIXTEEN_BIT_MODES
        or (image.mode == "I" and image.format == "PPM")
        or (image.mode != "I" and _is_deep_colour(image))
    )


def _eight_bit(image: Image.Image, repairs: list[str]) -> Image.Image:
    """The upper bytes of integers of 16 bits."""
    if image.mode not in DEEP_MODES:
        return image
    repairs.append(UPPER_BYTES)
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _without_unused_alpha(image: Image.Image, repairs: list[str]) -> Image.Image:
    """The fourth byte of a BMP's pixel is mostly unused: if all are 0, it hides nothing."""
    unused = image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)
    if not unused:
        return image
    repairs.append(UNUSED_ALPHA)
    return image.convert("RGB")


def _upright(image: Image.Image, repairs: list[str]) -> Image.Image:
    """The image turned as its EXIF data says, if they can be read."""
    if image.format != "TIFF" and not HOLD_ORIENTATION & image.info.keys():
        return image
    try:
        turn = UPRIGHT_TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # of damaged EXIF data, of almost any kind
        repairs.append(METADATA)
        return image
    if _doubts.found:
        repairs.append(METADATA)
    if turn is None:
        return image
    repairs.append(MADE_UPRIGHT)
    return image.transpose(turn)


def _is_deep_colour(image: ImageFile.ImageFile) -> bool:
    """16 bits for each of several channels: Pillow keeps the upper 8. (BMP's "BGR;16" is 5-6-5 bits.)"""
    raw_modes = [
        tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0]) for tile in image.tile
    ]
    return any(";16" in mode and not mode.startswith("BGR") for mode in raw_modes)


def _opaque(image: Image.Image, repairs: list[str]) -> Image.Image:
    """Lay transparent images on white; dropping alpha would show colours that hide in transparent pixels."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema() == (OPAQUE, OPAQUE):
        return image.convert("RGB")
    repairs.append(ON_WHITE)
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
