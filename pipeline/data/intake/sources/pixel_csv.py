"""A CSV whose cells are pixels."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.base.params import Name, Section
from pipeline.data.intake.sources.parquet import RawSide
from pipeline.data.intake.sources.place import SourcePath
from pipeline.data.intake.sources.table import Below

if TYPE_CHECKING:  # who only reads params need not wait for pyarrow
    from pipeline.data.intake.source import Source


class PixelCsvSource(Section):
    """Columns: those of the table that are no pixels; `label`, the first, in a table without a header."""

    kind: Literal["pixel_csv"] = Field(
        description="CSV with a column for each pixel (pixel0, pixel1, ...), or all in one column `pixels`"
    )
    path: SourcePath
    table: Below | None = Field(
        description="the table below path; null: the only one there, or train.csv, val.csv, test.csv"
    )
    raw_shape: Annotated[list[RawSide], Field(min_length=3, max_length=3)] | None = Field(
        description="[height, width, channels]; null: the images are square and grey"
    )
    split_column: Name | None = Field(
        description="column that says train, val or test; null: the table has no splits of its own"
    )
    fixed: ClassVar[dict[str, str]] = {}

    def open(self, path: Path, columns: list[str], scratch: Path) -> "Source":
        from pipeline.data.intake.readers.pixel_csv import open_pixel_csv

        return open_pixel_csv(self, path, columns, scratch)
