"""One row against its rules: an image becomes pixels of the size and channels asked for, or a Defect.

Letters: H height, W width, C channels.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from warnings import catch_warnings, filterwarnings

from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from pipeline.data.intake.source import Label

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""No format that starts other programs (EPS) or holds many pictures by design (ICO, PSD)."""
MAX_PIXELS = 40_000_000
"""Largest image decoded, 120 MB as RGB; above it a small file may be meant to fill the memory."""
DEEP_MODES = ("I", "F", "I;16", "I;16L", "I;16B", "I;16N")
MODES = {1: "L", 3: "RGB"}


class Defect(Exception):  # noqa: N818 - a finding about a row, turned into a line of the quarantine table
    """A row that cannot be used. reason: one of a few fixed phrases, counted; detail: what exactly, and the cure."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@contextmanager
def doubts_are_defects() -> Iterator[None]:
    """Within the block Pillow's warnings (huge image, corrupt EXIF, cut-off tags) are errors, whatever the filters say.

    Filters belong to the process: enter it once around all decoding threads, never inside one.
    """
    with catch_warnings():
        for category in (UserWarning, RuntimeWarning):
            filterwarnings("error", category=category, module=r"PIL\.")
        yield


@dataclass(frozen=True)
class RowCheck:
    """The rules for one source; its methods are pure, so threads may share it."""

    height: int
    width: int
    channels: int
    raw_shape: tuple[int, int, int] | None
    classes: list[str] | None

    def label(self, label: Label | None) -> Label:
        """The label itself. Raises Defect where it is null or names no class."""
        if label is None or label == "":
            raise Defect("null label", "the label is null or empty")
        if isinstance(label, int) and label < 0:
            raise Defect("label out of range", f"label {label} is negative; labels start at 0")
        if self.classes is None:
            return label
        if isinstance(label, int) and label >= len(self.classes):
            raise Defect("label out of range", f"label {label} is not in 0..{len(self.classes) - 1}")
        if isinstance(label, str) and label not in self.classes:
            raise Defect("label out of range", f"label {label!r} is not a known class")
        return label

    def pixels(self, data: bytes | None) -> bytes:
        """H * W * C bytes in that order. Raises Defect where the image is null, damaged or of a kind that would mislead."""
        if data is None:
            raise Defect("null image", "the image is null")
        if self.raw_shape is None:
            return self._fit(_decode(data))
        height, width, channels = self.raw_shape
        if len(data) != height * width * channels:
            expected = f"{height} x {width} x {channels} = {height * width * channels}"
            raise Defect("wrong raw length", f"{len(data)} bytes, but data.raw_shape needs {expected}")
        if self.raw_shape == (self.height, self.width, self.channels):
            return data
        return self._fit(Image.frombytes(MODES[channels], (width, height), data))

    def _fit(self, image: Image.Image) -> bytes:
        image = _opaque(image)
        if image.mode != MODES[self.channels]:
            image = image.convert(MODES[self.channels])
        if image.size != (self.width, self.height):
            # Pillow's filter widens with the scale, so shrinking is antialiased.
            image = image.resize((self.width, self.height), Image.Resampling.BILINEAR)
        return image.tobytes()


def _decode(data: bytes) -> Image.Image:
    """An upright, fully decoded image. Raises Defect."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            _check_header(image)
            image.load()  # `verify` would pass truncated JPEGs
            return ImageOps.exif_transpose(image)
    except Defect:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Defect("too many pixels", f"more than the {MAX_PIXELS} pixels that are decoded") from error
    except UnidentifiedImageError as error:  # its message holds a memory address
        raise Defect("undecodable image", f"{len(data)} bytes that are none of {', '.join(FORMATS)}") from error
    except Exception as error:  # Pillow's plugins raise almost any kind for malformed bytes
        detail = re.sub(r" at 0x[0-9a-f]+", "", f"{type(error).__name__}: {error}")
        raise Defect("undecodable image", " ".join(detail.split())) from error


def _check_header(image: ImageFile.ImageFile) -> None:
    """Refuse, before decoding, what would be decoded into something else than the picture meant."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise Defect("too many pixels", f"{width} x {height}, but at most {MAX_PIXELS} pixels are decoded")
    # An MPO is a photograph with previews behind it, so its first frame is the picture.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise Defect("several frames", "an animation or several pages; keep one image in a row")
    if image.mode in DEEP_MODES or _is_deep_colour(image):
        raise Defect("16-bit pixels", f"mode {image.mode} with more than 8 bits; scale the values to 8 bits as they mean it")


def _is_deep_colour(image: ImageFile.ImageFile) -> bool:
    """16 bits for each of several channels: Pillow calls it RGB and keeps the upper 8. (BMP's "BGR;16" is 5-6-5 bits.)"""
    raw_modes = [tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0]) for tile in image.tile]
    return any(";16" in mode and not mode.startswith("BGR") for mode in raw_modes)


def _opaque(image: Image.Image) -> Image.Image:
    """Lay transparent images on white; dropping alpha would show whatever colour hides in transparent pixels."""
    if not image.has_transparency_data:
        return image
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
