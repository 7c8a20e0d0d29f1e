"""A number a row."""

import math
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pipeline.base.params import Name, Section
from pipeline.images.defect import Defect

if TYPE_CHECKING:  # as in one_class.py
    import pyarrow as pa

    from pipeline.data.intake.settled.number import SettledNumber


class NumberTarget(Section):
    field: Literal["number"] = Field(description="a number a row")
    column: Name = Field(min_length=1, description="column with the number")
    kinds: ClassVar[tuple[str, ...]] = ("integers", "numbers")
    wanted: ClassVar[str] = "it must hold numbers"

    @property
    def names(self) -> list[str]:
        """Columns of the source that it is read from."""
        return [self.column]

    def check(self, cells: tuple[float | None], classes: list[str] | None) -> float:
        """Raises Defect."""
        if cells[0] is None:
            raise Defect("null number", f"column {self.column!r} is null")
        if not math.isfinite(cells[0]):
            raise Defect("no finite number", f"column {self.column!r} holds {cells[0]}")
        return float(cells[0])

    def settle(self, numbers: "pa.ChunkedArray | pa.Array", known: list[str] | None) -> "SettledNumber":
        from pipeline.data.intake.settled.number import SettledNumber

        return SettledNumber.of(numbers, self.column)

    def examples(self, count: int) -> "pa.Array":
        """What `check` could have made of some rows."""
        import pyarrow as pa

        return pa.array([float(row) for row in range(count)])
