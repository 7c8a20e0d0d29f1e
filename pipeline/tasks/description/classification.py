"""One of K classes."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from pipeline.base.params import Section
from pipeline.base.records import Record
from pipeline.data.fields.field import LABEL, TargetField
from pipeline.data.fields.one_class import ClassField
from pipeline.tasks.description.targets import target_of


class ClassificationNotes(Record):
    """classes: names, in the order of the logits."""

    name: Literal["classification"] = "classification"
    classes: list[str]

    @property
    def choices(self) -> list[str]:
        """What an answer is made of: models with others answer another question."""
        return self.classes


class ClassificationParams(Section):
    name: Literal["classification"] = Field(description="one of several classes")
    label_smoothing: float = Field(
        ge=0.0, lt=1.0, description="probability mass spread evenly over all classes (Szegedy et al. 2016)"
    )
    class_weights: Literal["none", "balanced"] = Field(
        description="balanced: in training an image's loss counts in inverse proportion to how frequent its "
        "class is"
    )

    @property
    def needs(self) -> dict[str, str]:
        """Fields of data.targets, by target."""
        return {LABEL: "class"}

    def notes(self, targets: Mapping[str, TargetField], target: str = LABEL) -> ClassificationNotes:
        """Raises ParamsError if the data have no such target, or one of another kind."""
        return ClassificationNotes(classes=target_of(targets, target, ClassField, self.name).classes)
