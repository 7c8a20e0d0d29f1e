"""What a kind of problem shows of one variant's answers beside their scores."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from pipeline.tasks.judging.arrays import Ints, Outputs, Targets
from pipeline.tasks.params import TaskParams
from pipeline.tasks.reports.classification import ClassificationReport

RowImages = Callable[[Ints], npt.NDArray[np.uint8]]
"""Reader of pixels (rows, C, H, W), by numbers of rows."""


class Report(Protocol):
    """Numbers, tables and pictures of the answers to a whole split."""

    def metrics(self, outputs: Outputs, targets: Targets) -> dict[str, float]:
        """Numbers that are no sums over samples, and so none of the Task's."""

    def tables(self, outputs: Outputs, targets: Targets) -> dict[str, str]:
        """CSV files by name."""

    def pictures(self, outputs: Outputs, targets: Targets, images: RowImages, most: int) -> dict[str, bytes]:
        """PNG files by name, the same bytes every time. most: how many samples to show."""


def make_report(params: TaskParams, classes: Sequence[str], calibration_bins: int) -> Report:
    return {"classification": ClassificationReport}[params.name](list(classes), calibration_bins)
