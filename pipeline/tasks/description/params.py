"""The `task` section of params.yaml, and what model.json notes of a task: one of the kinds of problem."""

from collections.abc import Mapping
from typing import Annotated, TypeAlias

from pydantic import ConfigDict, Field, JsonValue, RootModel, TypeAdapter, ValidationError

from pipeline.base.records import key_problems
from pipeline.data.prepared.manifest import Manifest
from pipeline.errors import ArtifactError
from pipeline.tasks.description.classification import ClassificationNotes, ClassificationParams
from pipeline.tasks.description.heads import HeadsNotes, HeadsParams
from pipeline.tasks.description.multilabel import MultilabelNotes, MultilabelParams
from pipeline.tasks.description.regression import RegressionNotes, RegressionParams

LOGITS = "logits"
"""Output of a network with one problem: a logit for each class or label, (B, K)."""
VALUE = "value"
"""Output of a network with one problem: a number, (B, 1)."""
AnyParams: TypeAlias = ClassificationParams | MultilabelParams | RegressionParams | HeadsParams
TaskNotes: TypeAlias = Annotated[
    ClassificationNotes | MultilabelNotes | RegressionNotes | HeadsNotes, Field(discriminator="name")
]
"""All that reading and judging a model's answers takes, beside the answers."""
_NOTES: TypeAdapter[TaskNotes] = TypeAdapter(TaskNotes)


class TaskParams(RootModel[Annotated[AnyParams, Field(discriminator="name")]]):
    """Section `task`."""

    model_config = ConfigDict(frozen=True, strict=True)

    def notes(self, manifest: Manifest) -> TaskNotes:
        """Notes before anything is chosen on validation. Raises ParamsError for data without such targets."""
        return self.root.notes(manifest.targets)


def notes_of(task: Mapping[str, JsonValue]) -> TaskNotes:
    """The notes under `task` of a model.json. Raises ArtifactError for those of no kind known here."""
    try:
        return _NOTES.validate_python(task)
    except ValidationError as error:
        raise ArtifactError(
            f"model.json: task: {key_problems(error)}; make the model again, with `dvc repro`, or take one "
            "that was registered since"
        ) from error
