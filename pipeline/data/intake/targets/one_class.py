"""One class a row: a column of names, or of integers from 0."""

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from pipeline.base.params import Name, Section
from pipeline.data.intake.targets.naming import Label, checked_label, name_classes
from pipeline.errors import DataError
from pipeline.images.defect import Defect

if TYPE_CHECKING:  # who only reads params need not wait for numpy
    import pyarrow as pa

    from pipeline.data.intake.settled.one_class import SettledClass

FEWEST_CLASSES = 2


class ClassTarget(Section):
    field: Literal["class"] = Field(description="one class a row")
    column: Name = Field(min_length=1, description="column with the class: an integer from 0, or its name")
    kinds: ClassVar[tuple[str, ...]] = ("integers", "names")
    wanted: ClassVar[str] = "labels must be integers from 0 or names (strings)"

    @property
    def names(self) -> list[str]:
        """Columns of the source that it is read from."""
        return [self.column]

    def check(self, cells: tuple[Label | None], classes: list[str] | None) -> Label:
        """Raises Defect."""
        try:
            return checked_label(cells[0], classes)
        except Defect as defect:
            raise Defect(defect.reason, f"column {self.column!r}: {defect.detail}") from defect

    def settle(self, labels: "pa.ChunkedArray | pa.Array", known: list[str] | None) -> "SettledClass":
        """Raises DataError for fewer than two classes, or integers with a gap."""
        from pipeline.data.intake.settled.one_class import SettledClass

        found = labels.unique().to_pylist()
        classes = name_classes(found, known)
        if len(found) < FEWEST_CLASSES:
            only = found[0]
            raise DataError(
                f"all {len(labels)} usable rows are of one class, {only!r}; a classifier needs at least two"
            )
        return SettledClass.of(labels, classes)

    def examples(self, count: int) -> "pa.Array":
        """What `check` could have made of some rows."""
        import pyarrow as pa

        return pa.array([row % FEWEST_CLASSES for row in range(count)])
