"""Column of answers that are a number. A copy travels with the model, so it imports nothing of Espalier.

Letter: B batch.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def regression_answer(numbers_B1: npt.NDArray[np.float32], notes: Mapping[str, Any]) -> dict[str, Any]:
    """`value`, in the unit of the target: a network answers in standard deviations from the mean."""
    return {"value": numbers_B1[:, 0].astype(np.float64) * notes["std"] + notes["mean"]}
