"""What a registered model answers with, and what its card says of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from pipeline.tasks.params import TaskParams
from pipeline.tasks.serving.classification import ClassificationServing


class Serving(Protocol):
    """A model as its users meet it."""

    code: ClassVar[Path]
    """The file that MLflow stores beside the model and runs; it imports nothing of Espalier."""
    columns: ClassVar[dict[str, str]]
    """Columns of an answer, a row for each image, with their types as MLflow names them."""
    score: ClassVar[str]
    """What a score means."""
    limits: ClassVar[str]
    """What an answer does not say."""

    def purpose(self, images: str) -> str:
        """What the model does, as a sentence. images: "images of 8 x 8 pixels"."""


def make_serving(params: TaskParams, classes: Sequence[str]) -> Serving:
    return {"classification": ClassificationServing}[params.name](tuple(classes))
