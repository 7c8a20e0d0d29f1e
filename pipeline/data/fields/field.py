"""All kinds of columns. Each stands in the manifest as it is: that is how it describes itself."""

from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import AfterValidator, Field

from pipeline.data.fields.any_classes import ClassesField
from pipeline.data.fields.image import ImageField
from pipeline.data.fields.number import NumberField
from pipeline.data.fields.one_class import ClassField

if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt

PIXELS = "pixels"
"""The column, and the input of a network, that holds an image."""
LABEL = "label"
"""The column, and the target of a task with one problem, that holds what is right."""
ORIGIN = ("file", "row")
"""Columns of the shards that say where a row came from."""


def _no_other_column(name: str) -> str:
    if name in (PIXELS, *ORIGIN):
        raise ValueError(f"{name} is a column of the prepared data already; choose another name")
    return name


TargetName = Annotated[
    str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=63), AfterValidator(_no_other_column)
]
"""A target: it names a column of the shards, an output of the network and files of the reports."""

TargetField: TypeAlias = ClassField | ClassesField | NumberField
AnyField = Annotated[ImageField | TargetField, Field(discriminator="kind")]
"""`stored` makes an Arrow column of values, by row; `read` gives them back as a view of it."""
Values: TypeAlias = "npt.NDArray[Any]"


def counts(field: TargetField, values: Values) -> list[int]:
    """How many rows are in each of a target's groups."""
    return [len(rows) for rows in field.members(values)]
