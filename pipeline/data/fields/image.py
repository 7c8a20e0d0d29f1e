"""An image of a fixed size. Letters: C channels, H height, W width."""

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import Field, PositiveInt

from pipeline.base.records import Record
from pipeline.images.rule import ImageRule, Resize, SixteenBit

if TYPE_CHECKING:  # who only reads a manifest, as the process that drives Ray does, need not wait for these
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

Pixels: TypeAlias = "npt.NDArray[np.uint8]"


class ImageField(Record):
    """Pixels 0..255 of images that were brought to one size by a rule (images/rule.py).

    mean, std: per channel, of the training split's pixels scaled to 0..1 (std is 1 for a constant channel).
    """

    kind: Literal["image"] = "image"
    height: PositiveInt
    width: PositiveInt
    channels: PositiveInt
    resize: Resize
    sixteen_bit: SixteenBit
    mean: list[float]
    std: list[Annotated[float, Field(gt=0)]]

    @property
    def rule(self) -> ImageRule:
        return ImageRule(self.height, self.width, self.channels, self.resize, self.sixteen_bit)

    @property
    def row_bytes(self) -> int:
        """Bytes of an image."""
        return self.height * self.width * self.channels

    def stored(self, pixels: Pixels) -> "pa.Array":
        """A column of fixed-size binary from pixels (rows, H * W * C)."""
        import numpy as np
        import pyarrow as pa

        buffers = [None, pa.py_buffer(np.ascontiguousarray(pixels))]
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(self.row_bytes), len(pixels), buffers)

    def read(self, column: Any) -> Pixels:
        """Pixels (rows, H * W * C), a view of a mapped column. Raises ValueError if it holds others."""
        import numpy as np
        import pyarrow as pa

        if column.type != pa.binary(self.row_bytes):
            raise ValueError(f"{column.type}, but the manifest says {self.row_bytes} bytes")
        flat = np.frombuffer(column.buffers()[1], np.uint8, len(column) * self.row_bytes)
        return flat.reshape(len(column), self.row_bytes)
