"""Any of K labels: none, one or several are right."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from pipeline.base.params import Section
from pipeline.base.records import Record
from pipeline.data.fields.any_classes import ClassesField
from pipeline.data.fields.field import LABEL, TargetField
from pipeline.tasks.description.targets import target_of

EVEN = 0.5
"""The threshold of a label for which none was chosen."""


class MultilabelNotes(Record):
    """classes: names of the labels, in the order of the logits. thresholds: of each the probability from
    which it is answered, chosen on the validation split.
    """

    name: Literal["multilabel"] = "multilabel"
    classes: list[str]
    thresholds: list[Annotated[float, Field(ge=0.0, le=1.0)]]

    @property
    def choices(self) -> list[str]:
        """What an answer is made of: models with others answer another question."""
        return [f"{name} or not" for name in self.classes]


class MultilabelParams(Section):
    name: Literal["multilabel"] = Field(description="any of several labels")
    class_weights: Literal["none", "balanced"] = Field(
        description="balanced: in training the rows that have a label count as much as those that lack it"
    )

    @property
    def needs(self) -> dict[str, str]:
        """Fields of data.targets, by target."""
        return {LABEL: "classes"}

    def notes(self, targets: Mapping[str, TargetField], target: str = LABEL) -> MultilabelNotes:
        """Raises ParamsError if the data have no such target, or one of another kind."""
        classes = target_of(targets, target, ClassesField, self.name).classes
        return MultilabelNotes(classes=classes, thresholds=[EVEN] * len(classes))
