"""The part of an image that a resize rule shows, and where. Letters: w, h size of the image."""

from typing import NamedTuple

from PIL import Image

from pipeline.images.rule import Crop, Filter, Fit, ImageRule, Pad

FILTERS: dict[Filter, Image.Resampling] = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
}
"""Pillow's filters, which widen with the scale: shrinking is antialiased."""


class Window(NamedTuple):
    """A box of an image in its pixels, left, upper, right, lower, and the size that it is brought to."""

    box: tuple[float, float, float, float]
    size: tuple[int, int]


def resized(image: Image.Image, rule: ImageRule) -> Image.Image:
    """The image in the size of the rule."""
    window = window_of(image.size, rule)
    is_whole = window == Window((0, 0, *image.size), image.size)
    inner = image if is_whole else through(image, window, rule.resize.filter)
    if not isinstance(rule.resize, Pad):
        return inner
    canvas = Image.new(image.mode, (rule.width, rule.height))
    canvas.paste(inner, ((rule.width - window.size[0]) // 2, (rule.height - window.size[1]) // 2))
    return canvas


def through(image: Image.Image, window: Window, kind: Filter) -> Image.Image:
    """What the window shows, in its size; cut and scaled at once, so that filters reach beyond its edge."""
    return image.resize(window.size, FILTERS[kind], box=window.box)


def window_of(image_size: tuple[int, int], rule: ImageRule) -> Window:
    """What the rule shows of an image of this width and height."""
    (w, h), size = image_size, (rule.width, rule.height)
    if isinstance(rule.resize, Fit):
        return Window(_covering(w, h, rule.width / rule.height), size)
    if isinstance(rule.resize, Crop):
        return Window(_cut(w, h, rule.resize.size, size), size)
    if isinstance(rule.resize, Pad):
        scale = min(rule.width / w, rule.height / h)
        return Window((0, 0, w, h), (max(1, round(w * scale)), max(1, round(h * scale))))
    return Window((0, 0, w, h), size)


def _covering(w: int, h: int, shape: float) -> tuple[float, float, float, float]:
    """The largest box in the middle whose width is `shape` x its height."""
    width, height = min(w, h * shape), min(h, w / shape)
    left, top = (w - width) / 2, (h - height) / 2
    return left, top, min(w, left + width), min(h, top + height)


def _cut(w: int, h: int, shorter: int, size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The box that is in the middle, whole pixels apart from the border, once the shorter side is `shorter`.

    These are the pixels of torchvision's Resize(shorter) and CenterCrop(size).
    """
    scaled = (shorter, shorter * h // w) if w <= h else (shorter * w // h, shorter)
    first = [round((side - cut) / 2) for side, cut in zip(scaled, size, strict=True)]
    left, right, top, bottom = (
        place * side / whole
        for start, cut, side, whole in zip(first, size, (w, h), scaled, strict=True)
        for place in (start, start + cut)
    )
    return left, top, right, bottom
