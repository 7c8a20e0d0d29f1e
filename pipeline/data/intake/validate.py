"""One row against its rules: an image becomes pixels of the size and channels asked for, or a Defect.

Letters: H height, W width, C channels.
"""

import io
import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import ExifTags, Image, ImageFile, UnidentifiedImageError

from pipeline.data.intake.defect import Defect
from pipeline.data.intake.targets.target import AnyTarget

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""No format that starts other programs (EPS) or holds many pictures by design (ICO, PSD)."""
REDUCED_ABOVE = 40_000_000
"""Pixels, 120 MB as RGB: a larger JPEG is decoded at a half, a quarter or an eighth of its size."""
SCALES = (2, 4, 8)
DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
PILLOW_MODES = {1: "L", 3: "RGB"}
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


@dataclass(frozen=True)
class RowCheck:
    """The rules for one source; its methods are pure, so threads may share it."""

    height: int
    width: int
    channels: int
    max_pixels: int
    raw_shape: tuple[int, int, int] | None
    targets: Mapping[str, AnyTarget]
    classes: Mapping[str, list[str]]

    def values(self, cells: Mapping[str, Any]) -> tuple[Any, ...]:
        """The value of each target from a row's cells by column. Raises Defect."""
        return tuple(
            target.check(tuple(cells[column] for column in target.names), self.classes.get(name))
            for name, target in self.targets.items()
        )

    def pixels(self, data: bytes | None) -> bytes:
        """H * W * C bytes in that order.

        Raises Defect if the image is null, damaged or of a kind that would mislead.
        """
        if data is None:
            raise Defect("null image", "the image is null")
        if self.raw_shape is None:
            return self._decoded(data)
        height, width, channels = self.raw_shape
        if len(data) != height * width * channels:
            expected = f"{height} x {width} x {channels} = {height * width * channels}"
            raise Defect("wrong raw length", f"{len(data)} bytes, but data.raw_shape needs {expected}")
        if self.raw_shape == (self.height, self.width, self.channels):
            return data
        return self._fit(Image.frombytes(PILLOW_MODES[channels], (width, height), data))

    def _decoded(self, data: bytes) -> bytes:
        try:
            return self._fit(_decode(data, self.max_pixels))
        except Defect:
            raise
        except Image.DecompressionBombError as error:  # of more pixels than max_pixels can allow
            raise _too_large("more", self.max_pixels) from error
        except UnidentifiedImageError as error:  # its message holds a memory address
            raise Defect(
                "undecodable image", f"{len(data)} bytes that are none of {', '.join(FORMATS)}"
            ) from error
        except Exception as error:  # Pillow's plugins raise almost any kind for malformed bytes
            detail = re.sub(r" at 0x[0-9a-f]+", "", f"{type(error).__name__}: {error}")
            raise Defect("undecodable image", " ".join(detail.split())) from error

    def _fit(self, image: Image.Image) -> bytes:
        if image.mode in ON_THE_WAY:
            image = image.convert(ON_THE_WAY[image.mode])
        image = _opaque(image)
        if image.mode != PILLOW_MODES[self.channels]:
            image = image.convert(PILLOW_MODES[self.channels])
        if image.size != (self.width, self.height):
            # Pillow's filter widens with the scale, so shrinking is antialiased.
            image = image.resize((self.width, self.height), Image.Resampling.BILINEAR)
        return image.tobytes()


def _too_large(size: str, max_pixels: int) -> Defect:
    return Defect(
        "too many pixels", f"{size}, but data.max_pixels allows {max_pixels}; shrink the image, or raise it"
    )


def _decode(data: bytes, max_pixels: int) -> Image.Image:
    """An upright, fully decoded image. Raises Defect, and whatever Pillow raises."""
    _doubts.found.clear()
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check_header(image, max_pixels)
        _reduce(image)
        image.load()  # `verify` would pass truncated JPEGs
        # The tags of a TIFF say what its pixels mean. Doubt about EXIF, which others have, is no damage of
        # their pixels.
        if image.format == "TIFF" and _doubts.found:
            raise Defect("undecodable image", " ".join(_doubts.found[0].split()))
        return _upright(_without_unused_alpha(image))


def _check_header(image: ImageFile.ImageFile, max_pixels: int) -> None:
    """Refuse, before decoding, what would be decoded into something else than the picture meant."""
    width, height = image.size
    if width * height > max_pixels:
        raise _too_large(f"{width} x {height}", max_pixels)
    # An MPO is a photograph with previews behind it, so its first frame is the picture.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise Defect("several frames", "an animation or several pages; keep one image in a row")
    if image.mode in DEEP_MODES or _is_deep_colour(image):
        raise Defect(
            "16-bit pixels",
            f"mode {image.mode} with more than 8 bits; scale the values to 8 bits as they mean it",
        )


def _reduce(image: ImageFile.ImageFile) -> None:
    """Let a very large JPEG be decoded smaller, which takes a part of the time and memory."""
    width, height = image.size
    if image.format in ("JPEG", "MPO") and width * height > REDUCED_ABOVE:
        scale = next((scale for scale in SCALES if width * height <= REDUCED_ABOVE * scale**2), SCALES[-1])
        image.draft(None, (width // scale, height // scale))


def _without_unused_alpha(image: Image.Image) -> Image.Image:
    """The fourth byte of a BMP's pixel is mostly unused: if all are 0, it hides nothing."""
    unused = image.format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0)
    return image.convert("RGB") if unused else image


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF data says, if they can be read."""
    try:
        turn = UPRIGHT_TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # of damaged EXIF data, of almost any kind
        return image
    return image if turn is None else image.transpose(turn)


def _is_deep_colour(image: ImageFile.ImageFile) -> bool:
    """16 bits for each of several channels: Pillow keeps the upper 8. (BMP's "BGR;16" is 5-6-5 bits.)"""
    raw_modes = [
        tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0]) for tile in image.tile
    ]
    return any(";16" in mode and not mode.startswith("BGR") for mode in raw_modes)


def _opaque(image: Image.Image) -> Image.Image:
    """Lay transparent images on white; dropping alpha would show colours that hide in transparent pixels."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
