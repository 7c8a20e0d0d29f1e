"""Sets of labels: what answers of any of K labels are worth. Letters: N samples, K labels."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.data.fields.field import LABEL
from pipeline.tasks.description.multilabel import MultilabelNotes
from pipeline.tasks.description.params import LOGITS
from pipeline.tasks.judging.arrays import Bools, Floats, Outputs, Targets


@dataclass(frozen=True)
class MultilabelExaminer:
    """A label is given if its probability reaches its threshold.

    The score of an answer is the F1 of its set of labels, 1 if it is rightly empty; so the mean is
    scikit-learn's f1_score(average="samples", zero_division=1).
    """

    notes: MultilabelNotes
    target: str = LABEL
    output: str = LOGITS

    def score(self, outputs: Outputs, targets: Targets) -> Floats:
        given, actual = self.given(outputs), self.actual(targets)
        sizes = given.sum(axis=1) + actual.sum(axis=1)
        return np.where(sizes > 0, 2 * (given & actual).sum(axis=1) / np.maximum(sizes, 1), 1.0)

    def answers(self, outputs: Outputs) -> list[str]:
        """A JSON list of names each."""
        return self._words(self.given(outputs))

    def truths(self, targets: Targets) -> list[str]:
        return self._words(self.actual(targets))

    def confidence(self, outputs: Outputs) -> Floats:
        """How sure each label is, there or not, and of that the mean."""
        probabilities = self.probabilities(outputs)
        mean: Floats = np.maximum(probabilities, 1 - probabilities).mean(axis=1)
        return mean

    def same(self, first: Sequence[str], second: Sequence[str]) -> Floats:
        """Jaccard index of two sets: labels in both by labels in either, 1 if there are none."""
        pairs = [
            (set(json.loads(one)), set(json.loads(other))) for one, other in zip(first, second, strict=True)
        ]
        return np.array([len(one & other) / len(one | other) if one | other else 1.0 for one, other in pairs])

    def groups(self, targets: Targets) -> dict[str, Bools]:
        """A mask (N,) for each label, of the samples that have it."""
        return dict(zip(self.notes.classes, self.actual(targets).T, strict=True))

    def probabilities(self, outputs: Outputs) -> Floats:
        """Probability of each label, (N, K)."""
        return logistic(outputs[self.output])

    def given(self, outputs: Outputs) -> Bools:
        """Which labels are answered, (N, K)."""
        return self.probabilities(outputs) >= np.array(self.notes.thresholds)

    def actual(self, targets: Targets) -> Bools:
        """Which labels are right, (N, K)."""
        return targets[self.target].astype(np.bool_)

    def _words(self, sets_NK: Bools) -> list[str]:
        names = self.notes.classes
        return [json.dumps([names[k] for k in np.flatnonzero(row)], ensure_ascii=False) for row in sets_NK]


def logistic(logits: npt.NDArray[np.float32]) -> Floats:
    """Probabilities, in float64; a logit of 0 gives 0.5 to the bit, and none overflows."""
    wide = logits.astype(np.float64)
    small = np.exp(-np.abs(wide))
    return np.where(wide >= 0, 1 / (1 + small), small / (1 + small))
