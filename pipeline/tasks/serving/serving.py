"""A model as its users meet it, whatever its kind of problem."""

from pathlib import Path

from pipeline.tasks.description.classification import ClassificationNotes
from pipeline.tasks.description.heads import HeadsNotes
from pipeline.tasks.description.multilabel import MultilabelNotes
from pipeline.tasks.description.params import TaskNotes
from pipeline.tasks.description.regression import RegressionNotes
from pipeline.tasks.serving.classification import ClassificationServing
from pipeline.tasks.serving.heads import HeadsServing
from pipeline.tasks.serving.multilabel import MultilabelServing
from pipeline.tasks.serving.protocol import Serving
from pipeline.tasks.serving.regression import RegressionServing

MODEL_CODE = Path(__file__).with_name("model.py")
"""What MLflow stores beside every model and runs."""


def make_serving(notes: TaskNotes) -> Serving:
    match notes:
        case ClassificationNotes():
            return ClassificationServing(notes)
        case MultilabelNotes():
            return MultilabelServing(notes)
        case RegressionNotes():
            return RegressionServing(notes)
        case HeadsNotes(heads=heads):
            return HeadsServing(
                {name: make_serving(head.task) for name, head in heads.items()},
                {name: head.weight for name, head in heads.items()},
            )
