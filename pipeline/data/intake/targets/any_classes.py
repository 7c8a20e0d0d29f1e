"""Any of several classes a row: a column of lists, or a column of 0 and 1 for each class."""

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from pipeline.base.params import Name, Section
from pipeline.data.intake.targets.naming import Label, checked_label, name_classes
from pipeline.errors import DataError
from pipeline.images.defect import Defect

if TYPE_CHECKING:  # as in one_class.py
    import pyarrow as pa

    from pipeline.data.intake.settled.any_classes import SettledClasses


class ClassesTarget(Section):
    field: Literal["classes"] = Field(description="any of several classes a row, also none")
    columns: list[Name] = Field(
        min_length=1,
        max_length=10_000,
        description="one column of lists of classes (names, or integers from 0), or a column of 0 and 1 for "
        "each class, which has the column's name",
    )
    kinds: ClassVar[tuple[str, ...]] = ("lists", "integers", "numbers", "booleans")
    wanted: ClassVar[str] = "it must hold lists of classes, or 0 and 1"

    @field_validator("columns")
    @classmethod
    def _each_once(cls, columns: list[str]) -> list[str]:
        twice = sorted({column for column in columns if columns.count(column) > 1})
        if twice:
            raise ValueError(f"column {twice[0]!r} is named twice; name each class once")
        return columns

    @property
    def names(self) -> list[str]:
        """Columns of the source that it is read from."""
        return self.columns

    def check(self, cells: tuple[Any, ...], classes: list[str] | None) -> tuple[Label, ...]:
        """The classes of a row. Raises Defect."""
        if None in cells:
            column = self.columns[cells.index(None)]
            raise Defect("null label", f"column {column!r} is null; a row without a class has 0, or []")
        found: list[Label]
        if isinstance(cells[0], list):
            found, where = cells[0], f"in a list in {self.columns[0]!r}"
        else:
            named = zip(self.columns, cells, strict=True)
            found, where = [name for name, cell in named if _is_member(name, cell)], "a column of 0 and 1"
        try:
            return tuple(checked_label(label, classes) for label in found)
        except Defect as defect:
            raise Defect(defect.reason, f"{where}: {defect.detail}") from defect

    def settle(self, labels: "pa.ChunkedArray | pa.Array", known: list[str] | None) -> "SettledClasses":
        """Raises DataError for no class at all, or integers with a gap."""
        import pyarrow.compute as pc

        from pipeline.data.intake.settled.any_classes import SettledClasses

        if known is None and len(self.columns) > 1:
            known = self.columns
        classes = name_classes(pc.list_flatten(labels).unique().to_pylist(), known)
        if not classes:
            raise DataError(
                f"no usable row has a class in {', '.join(self.columns)}; there is nothing to learn"
            )
        return SettledClasses.of(labels, classes)

    def examples(self, count: int) -> "pa.Array":
        """What `check` could have made of some rows."""
        import pyarrow as pa

        classes: list[Label] = [*self.columns] if len(self.columns) > 1 else [0, 1]
        return pa.array([(classes[row % len(classes)],) for row in range(count)])


def _is_member(column: str, cell: float) -> bool:
    if cell not in (0, 1):
        raise Defect("label out of range", f"column {column!r} holds {cell!r}; it must be 0 or 1")
    return bool(cell)
