"""All kinds of columns. Each stands in the manifest as it is: that is how it describes itself."""

from typing import TYPE_CHECKING, Annotated, TypeAlias

from pydantic import Field

from pipeline.data.fields.image import ImageField
from pipeline.data.fields.one_class import ClassField

if TYPE_CHECKING:
    from typing import Any

    import numpy.typing as npt

PIXELS = "pixels"
"""The column, and the input of a network, that holds an image."""
LABEL = "label"
"""The column, and the target of a task, that holds a class."""

AnyField = Annotated[ImageField | ClassField, Field(discriminator="kind")]
"""`stored` makes an Arrow column of values, by row; `read` gives them back as a view of it."""
Values: TypeAlias = "npt.NDArray[Any]"
