"""Any of several classes."""

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pipeline.base.records import Record

if TYPE_CHECKING:  # as in image.py
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

Memberships: TypeAlias = "npt.NDArray[np.uint8]"


class ClassesField(Record):
    """Which classes a row is of, 1 or 0 each; classes: names, in their order."""

    kind: Literal["classes"] = "classes"
    classes: list[str]

    def stored(self, memberships: Memberships) -> "pa.Array":
        """A column of fixed-size binary, a byte for each class, from (rows, K)."""
        import numpy as np
        import pyarrow as pa

        buffers = [None, pa.py_buffer(np.ascontiguousarray(memberships))]
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(len(self.classes)), len(memberships), buffers)

    def read(self, column: Any) -> Memberships:
        """(rows, K), a view of a mapped column. Raises ValueError if it holds others than 0 and 1."""
        import numpy as np
        import pyarrow as pa

        if column.type != pa.binary(len(self.classes)):
            raise ValueError(f"{column.type}, but the manifest says {len(self.classes)} classes")
        flat = np.frombuffer(column.buffers()[1], np.uint8, len(column) * len(self.classes))
        memberships = flat.reshape(len(column), len(self.classes))
        wrong = np.flatnonzero((memberships > 1).any(axis=1))
        if len(wrong):
            raise ValueError(f"row {wrong[0]}: {memberships[wrong[0]].tolist()}, but a class is 0 or 1")
        return memberships

    @property
    def words(self) -> str:
        return f"any of {len(self.classes)} classes"

    @property
    def groups(self) -> list[str]:
        return self.classes

    def members(self, memberships: Memberships) -> "list[npt.NDArray[np.int64]]":
        """The rows of each class; a row may be of several."""
        import numpy as np

        return [np.flatnonzero(column) for column in memberships.T]
