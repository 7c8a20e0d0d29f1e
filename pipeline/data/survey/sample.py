"""Some images of a source, looked at: their sizes and modes, and which cannot be decoded."""

import io
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from PIL import ExifTags, Image

from pipeline.data.intake.readers.listed import ListedPiece
from pipeline.data.intake.source import Source
from pipeline.data.intake.trees.blob import content, printable_name
from pipeline.images.decode import decoded, doubts_noted
from pipeline.images.defect import Defect
from pipeline.images.rule import ImageRule, Stretch

MOST_IMAGES = 4000
MOST_DECODED = 60
LONGEST_S = 4.0
"""Seconds after which no more images are looked at."""
PIECES_LOOKED_AT = 12
MAX_PIXELS = 178_000_000
SMALL = ImageRule(64, 64, 3, Stretch(rule="stretch", filter="box"), "refuse")
"""Rule by which some are decoded: large photographs then at a part of their size."""
TURNED = (5, 6, 7, 8)
"""EXIF orientations that exchange width and height."""


@dataclass
class Sample:
    """sizes: (width, height) of each image, upright. modes: how many of each. odd: file and what is wrong
    with it. coloured: whether a decoded image is not grey.
    """

    sizes: list[tuple[int, int]] = field(default_factory=list)
    modes: Counter[str] = field(default_factory=Counter)
    odd: list[tuple[str, str]] = field(default_factory=list)
    coloured: bool = False
    looked_at: int = 0


def look_at_images(source: Source) -> Sample:
    """Images from all over the source, for a few seconds at most."""
    sample, until = Sample(), time.monotonic() + LONGEST_S
    raw, every = (
        source.raw_shape,
        max(1, min(source.rows, MOST_IMAGES) // MOST_DECODED),
    )
    with doubts_noted():
        for number, (file, image) in enumerate(islice(_images(source), MOST_IMAGES)):
            if number and time.monotonic() > until:
                break
            sample.looked_at += 1
            if isinstance(image, Defect):
                sample.odd.append((file, f"{image.reason}: {image.detail}"))
            elif raw is not None:
                sample.sizes.append((raw[1], raw[0]))
                sample.modes["raw grey" if raw[2] == 1 else "raw RGB"] += 1
                sample.coloured |= raw[2] == len("RGB")
            else:
                _add(sample, file, image, number % every == 0)
    return sample


def _images(source: Source) -> Iterator[tuple[str, bytes | Defect]]:
    pieces = source.pieces[:: max(1, len(source.pieces) // PIECES_LOOKED_AT)]
    each = MOST_IMAGES // len(pieces)
    for piece in pieces:
        if isinstance(piece, ListedPiece):
            for row in piece.listed[:: max(1, piece.rows // each)][:each]:
                try:
                    yield printable_name(row.file), content(row.image)
                except Defect as defect:
                    yield printable_name(row.file), Defect(defect.reason, defect.detail)
        else:
            batch = next(piece.read())
            names = (f"{file} row {row}" for file, row in zip(batch.files, batch.rows, strict=True))
            yield from islice(zip(names, batch.images, strict=True), each)


def _add(sample: Sample, file: str, data: bytes, decode: bool) -> None:
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) in TURNED
            mode = image.mode
        if decode or mode not in ("L", "RGB"):
            pixels = np.asarray(decoded(data, SMALL, MAX_PIXELS)).astype(np.int16)
            sample.coloured |= bool(np.abs(pixels - pixels[..., :1]).max() > 0)
    except Defect as defect:
        sample.odd.append((file, f"{defect.reason}: {defect.detail}"))
    except Exception:  # as Pillow's plugins raise almost any kind
        sample.odd.append((file, "undecodable image"))
    else:
        sample.sizes.append((height, width) if turned else (width, height))
        sample.modes[mode] += 1
