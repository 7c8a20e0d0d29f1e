"""The key `split` of the section `data`: which rows are carved out as val and test."""

from datetime import date, datetime
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

from pydantic import Field, model_validator

from pipeline.base.params import Name, Section
from pipeline.images.defect import Defect

GROUP_KINDS = ("integers", "names", "booleans")
TIME_KINDS = ("integers", "numbers", "names", "timestamp", "date")
"""Beginnings of the kinds of columns that hold times: numbers, or texts that sort as the times do."""

ValFraction = Annotated[
    float,
    Field(ge=0, lt=1, description="fraction of the rows carved out as val; unused if the source has a val"),
]
TestFraction = Annotated[
    float,
    Field(
        ge=0,
        lt=1,
        description="fraction of the rows carved out as test; unused with a fold, or if the source has one",
    ),
]
Seed = Annotated[int, Field(ge=0, lt=2**31, description="decides which rows are carved out as val and test")]


class Fold(Section):
    """One of several parts of the rows, each of which is test once, for cross-validation."""

    of: int = Field(ge=2, le=1000, description="number of parts")
    index: int = Field(ge=0, le=999, description="the part that is test, from 0")

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if self.index >= self.of:
            raise ValueError(f"index {self.index} is not in 0..{self.of - 1}, the parts of {self.of}")
        return self


FoldKey = Annotated[
    Fold | None,
    Field(description="test is one of several equal parts of the rows; null: test_fraction of them"),
]


class SplitByRows(Section):
    by: Literal["rows"] = Field(description="any row, with the same proportions of the first target's kinds")
    val_fraction: ValFraction
    test_fraction: TestFraction
    seed: Seed
    fold: FoldKey
    column: ClassVar[str | None] = None
    kinds: ClassVar[tuple[str, ...]] = ()


class SplitByGroup(Section):
    by: Literal["group"] = Field(
        description="all rows of a group together, as of a patient or a place, so that no split knows what "
        "another shows; with the first target's proportions as well as that allows"
    )
    column: Name = Field(
        min_length=1, description="column with the group; rows without one are a group together"
    )
    val_fraction: ValFraction
    test_fraction: TestFraction
    seed: Seed
    fold: FoldKey
    kinds: ClassVar[tuple[str, ...]] = GROUP_KINDS

    def cell(self, value: Any) -> Any:
        """What is kept of a row's cell."""
        return None if value is None else str(value)


class SplitByRuns(Section):
    by: Literal["runs"] = Field(
        description="as by group, for files numbered as they were taken, one person or thing after the "
        "other: in the order of the last number in their names, a group ends where the class does not rise"
    )
    val_fraction: ValFraction
    test_fraction: TestFraction
    seed: Seed
    fold: FoldKey
    column: ClassVar[str | None] = None
    kinds: ClassVar[tuple[str, ...]] = ()


class SplitByTime(Section):
    by: Literal["time"] = Field(description="the latest rows are test, those before them val")
    column: Name = Field(
        min_length=1,
        description="column with the time: numbers, dates, or texts such as 2026-11-30",
    )
    val_fraction: ValFraction
    test_fraction: TestFraction
    kinds: ClassVar[tuple[str, ...]] = TIME_KINDS

    def cell(self, value: Any) -> Any:
        """What is kept of a row's cell. Raises Defect."""
        if value is None or value != value:  # noqa: PLR0124 - NaN
            raise Defect("null time", f"column {self.column!r} is null, but data.split is by time")
        return value.isoformat() if isinstance(value, date | datetime) else value


AnySplit: TypeAlias = Annotated[
    SplitByRows | SplitByGroup | SplitByRuns | SplitByTime, Field(discriminator="by")
]
