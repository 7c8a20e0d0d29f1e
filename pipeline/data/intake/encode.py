"""A copy of an image to train on: upright, in grey or RGB, no larger than it must be, as a JPEG."""

import io

from PIL import Image

from pipeline.data.intake.store import EncodedStore
from pipeline.images.decode import REDUCING_GAP, decoded
from pipeline.images.resize import Window, through
from pipeline.images.rule import ImageRule

LONGEST = 65_500
"""Pixels of a JPEG's longer side."""


def encoded_copy(data: bytes, image: Image.Image, rule: ImageRule, store: EncodedStore, most: int) -> bytes:
    """The copy of a file. image: decoded() of it, which is taken unless the copy may be larger.

    most: pixels that the file may have. Raises Defect as decoded().
    """
    if min(image.size) < store.shorter_side > REDUCING_GAP * rule.shorter_side:
        image = decoded(data, rule, most, store.shorter_side)
    return encoded(image, rule, store)


def encoded(image: Image.Image, rule: ImageRule, store: EncodedStore) -> bytes:
    """An image in grey or RGB as a JPEG with its shorter side brought down, never up, to the store's."""
    w, h = image.size
    scale = min(store.shorter_side / min(w, h), LONGEST / max(w, h))
    if scale < 1:
        size = max(1, round(w * scale)), max(1, round(h * scale))
        image = through(image, Window((0, 0, w, h), size), rule.resize.filter)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=store.quality)
    return file.getvalue()
