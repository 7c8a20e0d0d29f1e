"""Notes, params, answers and truths of each kind of problem, for tests of what all kinds share."""

import numpy as np
import numpy.typing as npt

from pipeline.tasks.description.classification import ClassificationNotes
from pipeline.tasks.description.heads import HeadNotes, HeadsNotes
from pipeline.tasks.description.multilabel import MultilabelNotes
from pipeline.tasks.description.params import TaskParams
from pipeline.tasks.description.regression import RegressionNotes
from pipeline.tasks.judging.arrays import Ints, Outputs, Targets
from pipeline.tasks.reports.report import Report

KIND = ClassificationNotes(classes=["cat", "dog", "eel"])
SEEN = MultilabelNotes(classes=["sun", "sea", "sand", "snow"], thresholds=[0.5, 0.3, 0.7, 0.5])
COUNT = RegressionNotes(mean=10.0, std=4.0, low=0.0, high=24.0)
HEADS = HeadsNotes(
    heads={
        "kind": HeadNotes(weight=1.0, task=KIND),
        "seen": HeadNotes(weight=0.5, task=SEEN),
        "count": HeadNotes(weight=0.2, task=COUNT),
    }
)
"""One of each kind."""
HEADS_PARAMS = TaskParams.model_validate(
    {
        "name": "heads",
        "heads": {
            "kind": {
                "weight": 1.0,
                "task": {"name": "classification", "label_smoothing": 0.1, "class_weights": "balanced"},
            },
            "seen": {"weight": 0.5, "task": {"name": "multilabel", "class_weights": "balanced"}},
            "count": {"weight": 0.2, "task": {"name": "regression", "loss": "huber"}},
        },
    }
)


def row_images(rows: Ints) -> npt.NDArray[np.uint8]:
    """Images (rows, 3, 4, 4), each in the colour of its number."""
    return np.broadcast_to(rows.astype(np.uint8)[:, None, None, None], (len(rows), 3, 4, 4))


def drawn(
    report: Report, outputs: Outputs, targets: Targets, most: int
) -> tuple[dict[str, bytes], list[int]]:
    """A report's pictures, and the rows whose images it asked for."""
    asked: list[int] = []

    def noting(rows: Ints) -> npt.NDArray[np.uint8]:
        asked.extend(rows.tolist())
        return row_images(rows)

    return report.pictures(outputs, targets, noting, most), asked


def answers(samples: int, seed: int = 0) -> tuple[Outputs, Targets]:
    """Outputs and targets of HEADS, by head; some sets of labels are empty."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 3, samples)
    sets = generator.random((samples, 4)) < [0.5, 0.3, 0.2, 0.1]
    numbers = generator.uniform(0.0, 24.0, samples)
    logits = generator.normal(size=(samples, 3)) + 2 * np.eye(3)[labels]
    outputs = {
        "kind": logits.astype(np.float32),
        "seen": (generator.normal(size=(samples, 4)) + 2 * sets - 1).astype(np.float32),
        "count": ((numbers - 10 + generator.normal(size=samples)) / 4).astype(np.float32)[:, None],
    }
    return outputs, {"kind": labels, "seen": sets.astype(np.uint8), "count": numbers}
