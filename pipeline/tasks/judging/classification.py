"""Right or wrong: what answers of one class of K are worth. Letters: N samples, K classes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.data.fields.field import LABEL
from pipeline.tasks.description.classification import ClassificationNotes
from pipeline.tasks.description.params import LOGITS
from pipeline.tasks.judging.arrays import Bools, Floats, Ints, Outputs, Targets


@dataclass(frozen=True)
class ClassificationExaminer:
    """An answer scores 1 or 0, so that the mean is top-1 accuracy; the first of tied logits answers."""

    notes: ClassificationNotes
    target: str = LABEL
    output: str = LOGITS

    def score(self, outputs: Outputs, targets: Targets) -> Floats:
        right: Floats = (self.predicted(outputs) == targets[self.target]).astype(np.float64)
        return right

    def answers(self, outputs: Outputs) -> list[str]:
        return [self.notes.classes[number] for number in self.predicted(outputs)]

    def truths(self, targets: Targets) -> list[str]:
        return [self.notes.classes[number] for number in targets[self.target]]

    def confidence(self, outputs: Outputs) -> Floats:
        """The probability of the answer."""
        most: Floats = softmax(outputs[self.output]).max(axis=1)
        return most

    def same(self, first: Sequence[str], second: Sequence[str]) -> Floats:
        return np.array([one == other for one, other in zip(first, second, strict=True)], np.float64)

    def groups(self, targets: Targets) -> dict[str, Bools]:
        """A mask (N,) for each class."""
        return {name: targets[self.target] == number for number, name in enumerate(self.notes.classes)}

    def predicted(self, outputs: Outputs) -> Ints:
        """The class that each sample is taken for, (N,)."""
        numbers: Ints = outputs[self.output].argmax(axis=1)
        return numbers


def softmax(logits_NK: npt.NDArray[np.float32]) -> Floats:
    """Probabilities, in float64."""
    shifted = logits_NK.astype(np.float64) - logits_NK.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    probabilities: Floats = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities
