"""A Parquet table that holds the images themselves."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pipeline.base.params import Name, Section

if TYPE_CHECKING:  # who only reads params need not wait for pyarrow
    from pipeline.data.intake.source import Source

RawSide = Annotated[int, Field(ge=1, le=65_535)]
"""Pixels, or channels, of a raw image."""


class ParquetSource(Section):
    kind: Literal["parquet"] = Field(description="Parquet tables that hold the images")
    path: str = Field(
        min_length=1,
        max_length=4096,
        description="Parquet file, or folder or archive with one or more of them for each split, whose names "
        "or folders say train, val or test, and optionally classes.json (a list of names)",
    )
    image_column: Name = Field(
        min_length=1,
        description="column with encoded images (PNG, JPEG, ...), or raw pixels as bytes or lists",
    )
    raw_shape: Annotated[list[RawSide], Field(min_length=3, max_length=3)] | None = Field(
        description="[height, width, channels] of raw uint8 pixels; null: the images are encoded"
    )
    fixed: ClassVar[dict[str, str]] = {}

    @model_validator(mode="after")
    def _grey_or_rgb(self) -> Self:
        if self.raw_shape is not None and self.raw_shape[2] not in (1, 3):
            raise ValueError(
                f"raw_shape ends in {self.raw_shape[2]} channels; raw pixels have 1 (grey) or 3 (RGB)"
            )
        return self

    def open(self, path: Path, columns: list[str], scratch: Path) -> "Source":
        from pipeline.data.intake.readers.parquet import open_parquet

        return open_parquet(self, path, columns, scratch)
