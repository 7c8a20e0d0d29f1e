"""What a kind of problem shows of one variant's answers beside their scores."""

from typing import Protocol

from pipeline.tasks.description.heads import HeadsNotes
from pipeline.tasks.description.params import TaskNotes
from pipeline.tasks.judging.arrays import Outputs, Targets
from pipeline.tasks.judging.heads import HeadsExaminer, one_examiner
from pipeline.tasks.reports.heads import HeadsReport, one_report
from pipeline.tasks.reports.worst import RowImages


class Report(Protocol):
    """Numbers, tables and pictures of the answers to a whole split."""

    def metrics(self, outputs: Outputs, targets: Targets) -> dict[str, float]:
        """Numbers that are no sums over samples, and so none of the Task's."""

    def tables(self, outputs: Outputs, targets: Targets) -> dict[str, str]:
        """CSV files by name."""

    def pictures(self, outputs: Outputs, targets: Targets, images: RowImages, most: int) -> dict[str, bytes]:
        """PNG files by name, the same bytes every time. most: how many samples to show."""


def make_report(notes: TaskNotes, calibration_bins: int) -> Report:
    if not isinstance(notes, HeadsNotes):
        return one_report(one_examiner(notes), calibration_bins)
    heads = HeadsExaminer(notes).examiners
    return HeadsReport({name: one_report(each, calibration_bins) for name, each in heads.items()})
