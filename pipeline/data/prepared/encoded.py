"""Rows of different lengths in one block of bytes: encoded images, in memory or mapped."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # who only reads a manifest need not wait for pyarrow
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa


@dataclass(frozen=True)
class Encoded:
    """File i is data[offsets[i] : offsets[i + 1]]. offsets: (rows + 1,) int64. data: (bytes,) uint8."""

    offsets: "npt.NDArray[np.int64]"
    data: "npt.NDArray[np.uint8]"

    @classmethod
    def of_lengths(cls, lengths: Sequence[int], data: "npt.NDArray[np.uint8]") -> "Encoded":
        """Files that lie one after the other in `data`."""
        import numpy as np

        return cls(np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]), data)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def file(self, row: int) -> bytes:
        return self.data[self.offsets[row] : self.offsets[row + 1]].tobytes()

    def __getitem__(self, rows: "npt.NDArray[np.int64]") -> "Encoded":
        """A copy of the files of some rows."""
        import numpy as np

        files = [self.file(row) for row in rows.tolist()]
        return Encoded.of_lengths([len(file) for file in files], np.frombuffer(b"".join(files), np.uint8))

    def column(self) -> "pa.Array":
        """The files as an Arrow column."""
        import pyarrow as pa

        buffers = [None, pa.py_buffer(self.offsets), pa.py_buffer(self.data)]
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(self), buffers)

    @classmethod
    def read(cls, column: Any) -> "Encoded":
        """The files of a mapped column, as a view of it. Raises ValueError if it holds something else."""
        import numpy as np
        import pyarrow as pa

        if column.type != pa.large_binary() or column.null_count:
            raise ValueError(f"{column.type}, but the manifest says encoded images")
        _, offsets, data = column.buffers()
        return cls(np.frombuffer(offsets, np.int64, len(column) + 1), np.frombuffer(data or b"", np.uint8))
