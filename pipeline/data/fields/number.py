"""A number."""

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field

from pipeline.base.records import Record

if TYPE_CHECKING:  # as in image.py
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

BINS = 10
Doubles: TypeAlias = "npt.NDArray[np.float64]"


class NumberField(Record):
    """mean, std, low, high: of the training split's numbers; low and high are the smallest and largest."""

    kind: Literal["number"] = "number"
    mean: float
    std: Annotated[float, Field(gt=0)]
    low: float
    high: float

    def stored(self, numbers: Doubles) -> "pa.Array":
        """A column of doubles."""
        import pyarrow as pa

        return pa.array(numbers, pa.float64())

    def read(self, column: Any) -> Doubles:
        """(rows,), a view of a mapped column. Raises ValueError if one is not finite."""
        import numpy as np
        import pyarrow as pa

        if column.type != pa.float64():
            raise ValueError(f"{column.type}, but the manifest says double")
        numbers = np.frombuffer(column.buffers()[1], np.float64, len(column))
        wrong = np.flatnonzero(~np.isfinite(numbers))
        if len(wrong):
            raise ValueError(f"row {wrong[0]}: {numbers[wrong[0]]}, which is no finite number")
        return numbers

    @property
    def words(self) -> str:
        return f"a number, in train {self.low:g} to {self.high:g}"

    @property
    def groups(self) -> list[str]:
        """Tenths of the range, by their bounds."""
        width = (self.high - self.low) / BINS
        bounds = [self.low + width * number for number in range(BINS + 1)]
        return [f"{low:.4g} to {high:.4g}" for low, high in pairwise(bounds)]

    def members(self, numbers: Doubles) -> "list[npt.NDArray[np.int64]]":
        """The rows in each tenth of the range; those beyond it in the first and the last."""
        import numpy as np

        tenths = np.clip((numbers - self.low) / (self.high - self.low) * BINS, 0, BINS - 1).astype(np.int64)
        return [np.flatnonzero(tenths == number) for number in range(BINS)]
