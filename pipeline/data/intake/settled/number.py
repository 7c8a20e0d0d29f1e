"""A number a row."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.data.fields.number import Doubles, NumberField
from pipeline.data.intake.columns import doubles
from pipeline.data.prepared.shards import Indices
from pipeline.errors import DataError

MOST_STRATA = 10
ROWS_OF_STRATUM = 20
"""Rows of a stratum at least; with fewer, val and test would take more than their share of each."""


@dataclass(frozen=True)
class SettledNumber:
    """values: (rows,)."""

    values: Doubles
    column: str

    @classmethod
    def of(cls, numbers: pa.ChunkedArray | pa.Array, column: str) -> "SettledNumber":
        return cls(doubles(numbers), column)

    def strata(self) -> Indices:
        """Equally many rows each, from the smallest numbers to the largest; equal numbers stay together."""
        count = min(MOST_STRATA, max(1, len(self.values) // ROWS_OF_STRATUM))
        edges = np.quantile(self.values, np.arange(1, count) / count)
        found: Indices = np.searchsorted(edges, self.values, side="right").astype(np.int64)
        return found

    def check(self, train: Indices, others: list[str]) -> None:
        if len(np.unique(self.values[train])) == 1:
            raise DataError(
                f"column {self.column!r} is {self.values[train[0]]:g} in all usable rows of train; there is "
                "nothing to learn"
            )

    def field(self, train: Indices) -> NumberField:
        seen = self.values[train]
        return NumberField(
            mean=float(seen.mean()), std=float(seen.std()), low=float(seen.min()), high=float(seen.max())
        )
