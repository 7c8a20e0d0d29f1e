"""Any of several classes a row. Letter: K classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.fields.any_classes import ClassesField, Memberships
from pipeline.data.intake.columns import integers
from pipeline.data.intake.settled.numbering import numbers_of
from pipeline.data.prepared.shards import Indices
from pipeline.errors import DataError


@dataclass(frozen=True)
class SettledClasses:
    """values: 1 where a row is of a class, else 0, (rows, K)."""

    values: Memberships
    classes: Sequence[str]

    @classmethod
    def of(cls, labels: pa.ChunkedArray | pa.Array, classes: Sequence[str]) -> "SettledClasses":
        """labels: lists of a row's classes."""
        values = np.zeros((len(labels), len(classes)), np.uint8)
        rows = integers(pc.list_parent_indices(labels).cast(pa.int64()))
        values[rows, numbers_of(pc.list_flatten(labels), classes)] = 1
        return cls(values, classes)

    def strata(self) -> Indices:
        """The rarest class of each row; K without one. Rare classes come into every split that way."""
        rarest_first = np.argsort(self.values.sum(axis=0, dtype=np.int64), kind="stable")
        first = self.values[:, rarest_first].argmax(axis=1)
        found: Indices = np.where(self.values.any(axis=1), rarest_first[first], len(self.classes))
        return found

    def check(self, train: Indices, others: list[str]) -> None:
        counts = self.values[train].sum(axis=0, dtype=np.int64).tolist()
        for name, count in zip(self.classes, counts, strict=True):
            if count == 0:
                raise DataError(
                    f"class {name!r} has no usable image in train; add some, or take the class out of the "
                    "table"
                )

    def field(self, train: Indices) -> ClassesField:
        return ClassesField(classes=[*self.classes])
