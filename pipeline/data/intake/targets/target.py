"""All kinds of targets that `data.targets` may name."""

from typing import Annotated, TypeAlias

from pydantic import Field

from pipeline.data.intake.targets.any_classes import ClassesTarget
from pipeline.data.intake.targets.number import NumberTarget
from pipeline.data.intake.targets.one_class import ClassTarget

AnyTarget: TypeAlias = Annotated[ClassTarget | ClassesTarget | NumberTarget, Field(discriminator="field")]
"""`check` takes a row's cells, `settle` an Arrow column of what it made of all."""
