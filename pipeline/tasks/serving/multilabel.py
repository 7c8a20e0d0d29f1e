"""A registered model that gives any of K labels: its card's words, and columns of multilabel_answer.py."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipeline.errors import listed
from pipeline.tasks.description.multilabel import MultilabelNotes
from pipeline.tasks.serving.protocol import SHOWN_CLASSES


@dataclass(frozen=True)
class MultilabelServing:
    notes: MultilabelNotes
    code: ClassVar[tuple[Path, ...]] = (Path(__file__).with_name("multilabel_answer.py"),)
    columns: ClassVar[dict[str, str]] = {"labels": "string", "probabilities": "string"}
    score: ClassVar[str] = "mean F1 of an image's labels"
    limits: ClassVar[str] = (
        "It gives each label from a probability of its own on, chosen on the validation split (`thresholds` "
        "in model.json), also to an image of something else."
    )

    def purpose(self, images: str) -> str:
        names = self.notes.classes
        shown = listed(names, SHOWN_CLASSES)
        return f"Says of {images} which of {len(names)} labels each has, if any: {shown}."
