"""What all that is served says of itself."""

from pathlib import Path
from typing import Protocol

SHOWN_CLASSES = 20
"""Names that a card lists; it counts the others."""


class Serving(Protocol):
    """A model as its users meet it."""

    @property
    def code(self) -> tuple[Path, ...]:
        """The files that MLflow stores beside the model and from which model.py runs the function of the same
        name: a kind of problem each, <kind>_answer.py. They import nothing of Espalier.
        """

    @property
    def columns(self) -> dict[str, str]:
        """Columns of an answer, a row for each image, with their types as MLflow names them."""

    @property
    def score(self) -> str:
        """What a score means."""

    @property
    def limits(self) -> str:
        """What an answer does not say, in sentences."""

    def purpose(self, images: str) -> str:
        """What the model does, as a sentence. images: "images of 8 x 8 pixels"."""
