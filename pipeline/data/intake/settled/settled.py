"""A target once all rows are read."""

from typing import Protocol

from pipeline.data.fields.field import TargetField, Values
from pipeline.data.prepared.shards import Indices


class Settled(Protocol):
    """The values of a target, (rows, ...), for good rows in the order of the source."""

    @property
    def values(self) -> Values: ...

    def strata(self) -> Indices:
        """A number for each row, equal for rows that are alike: every split gets its share of each."""

    def check(self, train: Indices, others: list[str]) -> None:
        """Raises DataError if `train` does not show what there is to learn.

        others: splits that are still to be carved out of these rows.
        """

    def field(self, train: Indices) -> TargetField:
        """How the manifest describes it. train: rows of the training split, for its statistics."""
