"""A registered classifier: its card's words, and the columns that classification_model.py answers with."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipeline.errors import listed

SHOWN_CLASSES = 20


@dataclass(frozen=True)
class ClassificationServing:
    """classes: names, in the order of the logits."""

    classes: tuple[str, ...]
    code: ClassVar[Path] = Path(__file__).with_name("classification_model.py")
    columns: ClassVar[dict[str, str]] = {"label": "string", "class_index": "long", "probability": "double"}
    score: ClassVar[str] = "top-1 accuracy"
    limits: ClassVar[str] = "It gives every image one of the classes above, also an image of something else."

    def purpose(self, images: str) -> str:
        names = listed(self.classes, SHOWN_CLASSES)
        return f"Classifies {images} into {len(self.classes)} classes: {names}."
