"""A number."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from pipeline.base.params import Section
from pipeline.base.records import Record
from pipeline.data.fields.field import LABEL, TargetField
from pipeline.data.fields.number import NumberField
from pipeline.tasks.description.targets import target_of


class RegressionNotes(Record):
    """The training split's numbers, by which answers are scaled: a network gives standard deviations from
    the mean. low, high: the smallest and the largest.
    """

    name: Literal["regression"] = "regression"
    mean: float
    std: Annotated[float, Field(gt=0.0)]
    low: float
    high: float

    @property
    def choices(self) -> list[str]:
        """What an answer is made of: models with others answer another question."""
        return ["a number"]


class RegressionParams(Section):
    name: Literal["regression"] = Field(description="a number")
    loss: Literal["squared", "absolute", "huber"] = Field(
        description="of an error in standard deviations of the training split; huber: squared below one, "
        "absolute above (Huber 1964)"
    )

    @property
    def needs(self) -> dict[str, str]:
        """Fields of data.targets, by target."""
        return {LABEL: "number"}

    def notes(self, targets: Mapping[str, TargetField], target: str = LABEL) -> RegressionNotes:
        """Raises ParamsError if the data have no such target, or one of another kind."""
        field = target_of(targets, target, NumberField, self.name)
        return RegressionNotes(mean=field.mean, std=field.std, low=field.low, high=field.high)
