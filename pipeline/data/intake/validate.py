"""One row against its rules: an image becomes pixels of the size and channels asked for, or a Defect.

Letters: H height, W width, C channels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from PIL import Image

from pipeline.data.intake.encode import encoded, encoded_copy
from pipeline.data.intake.limits import IntakeLimits
from pipeline.data.intake.store import ImageStore
from pipeline.data.intake.targets.target import AnyTarget
from pipeline.images.decode import PILLOW_MODES, decoded, flattened
from pipeline.images.defect import Defect
from pipeline.images.resize import resized
from pipeline.images.rule import ImageRule


class KeptImage(NamedTuple):
    """pixels: final, H * W * C bytes in that order. copy: a JPEG to train on, if such are kept. repairs: what
    was mended (images/repairs.py).
    """

    pixels: bytes
    copy: bytes = b""
    repairs: Sequence[str] = ()


@dataclass(frozen=True)
class RowCheck:
    """The rules for one source; its methods are pure, so processes may share it."""

    rule: ImageRule
    store: ImageStore
    limits: IntakeLimits
    raw_shape: tuple[int, int, int] | None
    targets: Mapping[str, AnyTarget]
    classes: Mapping[str, list[str]]

    @property
    def row_bytes(self) -> int:
        """Bytes of the pixels of an image."""
        return self.rule.height * self.rule.width * self.rule.channels

    def values(self, cells: Mapping[str, Any]) -> tuple[Any, ...]:
        """The value of each target from a row's cells by column. Raises Defect."""
        return tuple(
            target.check(tuple(cells[column] for column in target.names), self.classes.get(name))
            for name, target in self.targets.items()
        )

    def image(self, data: bytes) -> KeptImage:
        """What is kept of an image. Raises Defect if it is damaged or of a kind that would mislead."""
        if len(data) > self.limits.max_bytes:
            most = self.limits.max_bytes
            raise Defect("file too large", f"{len(data)} bytes, but data.limits.max_bytes allows {most}")
        if self.raw_shape is not None:
            return self._raw_image(data, self.raw_shape)
        repairs: list[str] = []
        image = decoded(data, self.rule, self.limits.max_pixels, repairs=repairs)
        copy = b""
        if self.store.kind == "encoded":
            copy = encoded_copy(data, image, self.rule, self.store, self.limits.max_pixels)
        return KeptImage(resized(image, self.rule).tobytes(), copy, repairs)

    def _raw_image(self, data: bytes, shape: tuple[int, int, int]) -> KeptImage:
        height, width, channels = shape
        if len(data) != height * width * channels:
            expected = f"{height} x {width} x {channels} = {height * width * channels}"
            raise Defect("wrong raw length", f"{len(data)} bytes, but data.source.raw_shape needs {expected}")
        if shape == self.rule[:3] and self.store.kind == "pixels":
            return KeptImage(data)
        image = flattened(Image.frombytes(PILLOW_MODES[channels], (width, height), data), self.rule, [])
        copy = encoded(image, self.rule, self.store) if self.store.kind == "encoded" else b""
        return KeptImage(resized(image, self.rule).tobytes(), copy)
