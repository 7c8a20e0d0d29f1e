"""One class a row."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.data.fields.one_class import ClassField, Labels
from pipeline.data.intake.settled.numbering import numbers_of
from pipeline.data.prepared.shards import Indices
from pipeline.errors import DataError


@dataclass(frozen=True)
class SettledClass:
    """values: class numbers (rows,)."""

    values: Labels
    classes: list[str]

    @classmethod
    def of(cls, labels: pa.ChunkedArray | pa.Array, classes: list[str]) -> "SettledClass":
        return cls(numbers_of(labels, classes), classes)

    def strata(self) -> Indices:
        return self.values

    def check(self, train: Indices, others: list[str]) -> None:
        counts = np.bincount(self.values[train], minlength=len(self.classes)).tolist()
        for name, count in zip(self.classes, counts, strict=True):
            if count == 0:
                raise DataError(
                    f"class {name!r} has no usable image in train; add some, or take the class out of the "
                    "table"
                )
            if count < 1 + len(others):
                raise DataError(
                    f"class {name!r} has {count} usable image{'s' if count > 1 else ''}, but "
                    f"{' and '.join(['train', *others])} need one each; add images, or take the class out of "
                    "the table"
                )

    def field(self, train: Indices) -> ClassField:
        return ClassField(classes=self.classes)
