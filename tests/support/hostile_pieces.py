"""Rows that harm who decodes them, importable by the processes that do."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from pipeline.data.intake.decoding.guard import ItemLimits
from pipeline.data.intake.decoding.piece import Order
from pipeline.data.intake.source import Source, SourceBatch
from pipeline.data.intake.store import PixelStore
from pipeline.data.intake.targets.one_class import ClassTarget
from pipeline.data.intake.validate import KeptImage, RowCheck
from pipeline.errors import DataError
from pipeline.images.rule import ImageRule
from tests.support.data_samples import STRETCH, data_params

TWO_PIXELS = ImageRule(height=1, width=2, channels=1, resize=STRETCH, sixteen_bit="refuse")
HANG = b"hang"
FILL = b"fill"


@dataclass(frozen=True)
class HostileCheck(RowCheck):
    """Does to its process what an image says."""

    def image(self, data: bytes) -> KeptImage:
        while data == HANG:
            pass
        if data == FILL:
            bytearray(1 << 29)
        return KeptImage(data)


@dataclass(frozen=True)
class ListPiece:
    images: tuple[bytes, ...]
    number: int = 0
    batch_rows: ClassVar[int] = 2

    @property
    def rows(self) -> int:
        return len(self.images)

    def read(self) -> Iterator[SourceBatch]:
        if b"damaged" in self.images:
            raise DataError("rows.bin: damaged; get the file again")
        for first in range(0, self.rows, self.batch_rows):
            images = list(self.images[first : first + self.batch_rows])
            rows = range(first, first + len(images))
            yield SourceBatch(
                files=[f"piece{self.number}"] * len(images),
                rows=list(rows),
                splits=["train"] * len(images),
                images=[*images],
                cells={"label": [row % 2 for row in rows]},
            )


def source_of(*pieces: tuple[bytes, ...]) -> Source:
    return Source(
        name="hostile",
        splits=["train"],
        columns={"label": "integers"},
        classes={},
        classes_json=None,
        raw_shape=None,
        pieces=[ListPiece(images, number) for number, images in enumerate(pieces)],
        left_out={},
    )


def order(seconds: float = 0.2) -> Order:
    targets = {"label": ClassTarget(field="class", column="label")}
    check = HostileCheck(TWO_PIXELS, PixelStore(kind="pixels"), data_params().limits, None, targets, {})
    return Order(check, [], {}, ItemLimits(num_bytes=1 << 28, seconds=seconds))
