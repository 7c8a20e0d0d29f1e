"""A registered model that answers with a number: its card's words, and the column of regression_answer.py."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipeline.tasks.description.regression import RegressionNotes


@dataclass(frozen=True)
class RegressionServing:
    notes: RegressionNotes
    code: ClassVar[tuple[Path, ...]] = (Path(__file__).with_name("regression_answer.py"),)
    columns: ClassVar[dict[str, str]] = {"value": "double"}

    @property
    def score(self) -> str:
        return f"1 less the error's share of the range {self._range}, at least 0"

    @property
    def limits(self) -> str:
        return (
            "It gives every image a number, also an image of something else, and does not say how sure it "
            f"is; of numbers outside {self._range} it has seen none."
        )

    def purpose(self, images: str) -> str:
        return f"Estimates from {images} a number, which was {self._range} in training."

    @property
    def _range(self) -> str:
        return f"{self.notes.low:g} to {self.notes.high:g}"
