"""A table that names image files."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from pipeline.base.params import Name, Section
from pipeline.data.intake.sources.place import SourcePath

if TYPE_CHECKING:  # who only reads params need not wait for pyarrow
    from pipeline.data.intake.source import Source

Below = Annotated[str, Field(min_length=1, max_length=4096)]
"""A path below the source's."""


class TableSource(Section):
    kind: Literal["table"] = Field(
        description="CSV, TSV, JSON lines or Parquet that name image files, with columns of their own"
    )
    path: SourcePath
    table: Below | None = Field(
        description="the table below path; null: the only one there, or train.csv, val.csv, test.csv"
    )
    image_column: Name = Field(
        min_length=1, description="column that names an image's file, or holds its bytes in base64"
    )
    root: Below | None = Field(
        description="folder below path at which file names start; null: the table's own, or path itself"
    )
    split_column: Name | None = Field(
        description="column that says train, val or test; null: the table has no splits of its own"
    )
    list_separator: Annotated[str, Field(min_length=1, max_length=5)] | None = Field(
        description="what stands between the parts of a list in a cell, such as |; null: lists are JSON"
    )
    fixed: ClassVar[dict[str, str]] = {}

    def open(self, path: Path, columns: list[str], scratch: Path) -> "Source":
        from pipeline.data.intake.readers.table import open_table

        return open_table(self, path, columns, scratch)
