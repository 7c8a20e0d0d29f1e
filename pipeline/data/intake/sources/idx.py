"""IDX files, as MNIST has them."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pipeline.base.params import Section
from pipeline.data.intake.sources.place import SourcePath

if TYPE_CHECKING:  # who only reads params need not wait for pyarrow
    from pipeline.data.intake.source import Source


class IdxSource(Section):
    kind: Literal["idx"] = Field(
        description="IDX files, as MNIST: train-images-idx3-ubyte, train-labels-idx1-ubyte (column label)"
    )
    path: SourcePath
    fixed: ClassVar[dict[str, str]] = {"label": "integers"}

    def open(self, path: Path, columns: list[str], scratch: Path) -> "Source":
        from pipeline.data.intake.readers.idx import open_idx

        return open_idx(path, columns, scratch)
