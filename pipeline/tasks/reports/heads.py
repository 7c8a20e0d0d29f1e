"""Reports of several heads: what each has, under names that begin with the head's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pipeline.tasks.judging.arrays import Outputs, Targets
from pipeline.tasks.judging.classification import ClassificationExaminer
from pipeline.tasks.judging.heads import OneExaminer
from pipeline.tasks.judging.multilabel import MultilabelExaminer
from pipeline.tasks.judging.regression import RegressionExaminer
from pipeline.tasks.reports.classification import ClassificationReport
from pipeline.tasks.reports.multilabel import MultilabelReport
from pipeline.tasks.reports.regression import RegressionReport
from pipeline.tasks.reports.worst import RowImages

OneReport: TypeAlias = ClassificationReport | MultilabelReport | RegressionReport
"""Report of one problem, that stands alone or is a head."""


def one_report(examiner: OneExaminer, calibration_bins: int) -> OneReport:
    match examiner:
        case ClassificationExaminer():
            return ClassificationReport(examiner, calibration_bins)
        case MultilabelExaminer():
            return MultilabelReport(examiner, calibration_bins)
        case RegressionExaminer():
            return RegressionReport(examiner)


@dataclass(frozen=True)
class HeadsReport:
    """reports: by head."""

    reports: Mapping[str, OneReport]

    def metrics(self, outputs: Outputs, targets: Targets) -> dict[str, float]:
        """The numbers of each head, as "head/name"."""
        return {
            f"{head}/{name}": value
            for head, report in self.reports.items()
            for name, value in report.metrics(outputs, targets).items()
        }

    def tables(self, outputs: Outputs, targets: Targets) -> dict[str, str]:
        """The tables of each head, as "head-name.csv"."""
        return {
            f"{head}-{name}": text
            for head, report in self.reports.items()
            for name, text in report.tables(outputs, targets).items()
        }

    def pictures(self, outputs: Outputs, targets: Targets, images: RowImages, most: int) -> dict[str, bytes]:
        """The pictures of each head, as "head-name.png"."""
        return {
            f"{head}-{name}": content
            for head, report in self.reports.items()
            for name, content in report.pictures(outputs, targets, images, most).items()
        }
