"""One of several classes."""

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pipeline.base.records import Record

if TYPE_CHECKING:  # as in image.py
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

Labels: TypeAlias = "npt.NDArray[np.int64]"


class ClassField(Record):
    """The number of a class; classes: names by number."""

    kind: Literal["class"] = "class"
    classes: list[str]

    def stored(self, labels: Labels) -> "pa.Array":
        """A column of int64."""
        import pyarrow as pa

        return pa.array(labels, pa.int64())

    def read(self, column: Any) -> Labels:
        """Class numbers (rows,), a view of a mapped column. Raises ValueError if there is no such class."""
        import numpy as np
        import pyarrow as pa

        if column.type != pa.int64():
            raise ValueError(f"{column.type}, but the manifest says int64")
        # Not through `to_numpy`, which imports pandas (1.5 s) in every process that opens a split.
        labels = np.frombuffer(column.buffers()[1], np.int64, len(column))
        wrong = np.flatnonzero((labels < 0) | (labels >= len(self.classes)))
        if len(wrong):
            row = int(wrong[0])
            raise ValueError(f"row {row}: label {labels[row]}, but there are {len(self.classes)} classes")
        return labels

    @property
    def words(self) -> str:
        return f"one of {len(self.classes)} classes"

    @property
    def groups(self) -> list[str]:
        return self.classes

    def members(self, labels: Labels) -> "list[npt.NDArray[np.int64]]":
        """The rows of each class."""
        import numpy as np

        return [np.flatnonzero(labels == number) for number in range(len(self.classes))]
