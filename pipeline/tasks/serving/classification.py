"""A registered classifier: its card's words, and the columns that classification_answer.py makes."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipeline.errors import listed
from pipeline.tasks.description.classification import ClassificationNotes
from pipeline.tasks.serving.protocol import SHOWN_CLASSES


@dataclass(frozen=True)
class ClassificationServing:
    notes: ClassificationNotes
    code: ClassVar[tuple[Path, ...]] = (Path(__file__).with_name("classification_answer.py"),)
    columns: ClassVar[dict[str, str]] = {"label": "string", "class_index": "long", "probability": "double"}
    score: ClassVar[str] = "top-1 accuracy"
    limits: ClassVar[str] = "It gives every image one of the classes above, also an image of something else."

    def purpose(self, images: str) -> str:
        names = self.notes.classes
        return f"Classifies {images} into {len(names)} classes: {listed(names, SHOWN_CLASSES)}."
