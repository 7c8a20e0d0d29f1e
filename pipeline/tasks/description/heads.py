"""Several problems at once, for one network: a head for each target."""

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from pipeline.base.params import Section
from pipeline.base.records import Record
from pipeline.data.fields.field import TargetField, TargetName
from pipeline.tasks.description.classification import ClassificationNotes, ClassificationParams
from pipeline.tasks.description.multilabel import MultilabelNotes, MultilabelParams
from pipeline.tasks.description.regression import RegressionNotes, RegressionParams

OneParams: TypeAlias = Annotated[
    ClassificationParams | MultilabelParams | RegressionParams, Field(discriminator="name")
]
OneNotes: TypeAlias = Annotated[
    ClassificationNotes | MultilabelNotes | RegressionNotes, Field(discriminator="name")
]


class HeadNotes(Record):
    """weight: of the head's score among those of all heads."""

    weight: Annotated[float, Field(gt=0.0)]
    task: OneNotes


class HeadsNotes(Record):
    """heads: by target, in the order of their names, in which JSON files hold them: so do outputs."""

    name: Literal["heads"] = "heads"
    heads: dict[str, HeadNotes]

    @property
    def choices(self) -> list[str]:
        """What an answer is made of: models with others answer another question."""
        return [f"{name}: {choice}" for name, head in self.heads.items() for choice in head.task.choices]


class HeadParams(Section):
    weight: float = Field(
        gt=0.0, le=1e6, description="factor of this head's loss, and of its score among those of all heads"
    )
    task: OneParams = Field(description="what this head answers")


class HeadsParams(Section):
    name: Literal["heads"] = Field(description="several problems at once, for one network")
    heads: dict[TargetName, HeadParams] = Field(
        min_length=1, max_length=50, description="a head for each target that data.targets names"
    )

    @property
    def needs(self) -> dict[str, str]:
        """Fields of data.targets, by target."""
        return {name: field for name, head in self.heads.items() for field in head.task.needs.values()}

    def notes(self, targets: Mapping[str, TargetField]) -> HeadsNotes:
        """Raises ParamsError if the data lack a head's target, or have one of another kind."""
        return HeadsNotes(
            heads={
                name: HeadNotes(weight=head.weight, task=head.task.notes(targets, name))
                for name, head in sorted(self.heads.items())
            }
        )
