"""Sections `task` of params.yaml."""

from pipeline.tasks.description.params import TaskParams


def classification(label_smoothing: float = 0.0, class_weights: str = "none") -> TaskParams:
    return TaskParams.model_validate(
        {"name": "classification", "label_smoothing": label_smoothing, "class_weights": class_weights}
    )
