"""Tables and pictures of answers of a number: how far they are off, and the worst of them."""

from dataclasses import dataclass

import numpy as np

from pipeline.tasks.judging.arrays import Floats, Outputs, Targets
from pipeline.tasks.judging.regression import RegressionExaminer, number_words
from pipeline.tasks.reports.regression_errors import errors_csv, parts_of_range
from pipeline.tasks.reports.regression_pictures import draw_errors, draw_predicted
from pipeline.tasks.reports.worst import RowImages, draw_worst, worst


@dataclass(frozen=True)
class RegressionReport:
    """examiner: of these answers."""

    examiner: RegressionExaminer

    def metrics(self, outputs: Outputs, targets: Targets) -> dict[str, float]:
        """Errors in the target's unit; bias is the mean of answer less truth."""
        errors = self._errors(outputs, targets)
        median, p95 = np.quantile(np.abs(errors), [0.5, 0.95]).tolist()
        return {"median_error": median, "p95_error": p95, "bias": float(errors.mean())}

    def tables(self, outputs: Outputs, targets: Targets) -> dict[str, str]:
        errors, notes = self._errors(outputs, targets), self.examiner.notes
        thirds = parts_of_range(self.examiner.actual(targets), notes.low, notes.high)
        return {"errors.csv": errors_csv({"all": errors} | {name: errors[N] for name, N in thirds.items()})}

    def pictures(self, outputs: Outputs, targets: Targets, images: RowImages, most: int) -> dict[str, bytes]:
        answers, truths = self.examiner.numbers(outputs), self.examiner.actual(targets)
        errors = self._errors(outputs, targets)
        rows = worst(np.abs(errors), most)
        given, actual = number_words(answers[rows]), number_words(truths[rows])
        return {
            "predicted.png": draw_predicted(answers, truths),
            "errors.png": draw_errors(errors),
            "worst.png": draw_worst("Greatest errors", rows, images, given, actual),
        }

    def _errors(self, outputs: Outputs, targets: Targets) -> Floats:
        errors: Floats = self.examiner.numbers(outputs) - self.examiner.actual(targets)
        return errors
