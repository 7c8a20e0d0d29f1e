"""Columns of a classifier's answers. A copy travels with the model, so it imports nothing of Espalier.

Letters: B batch, K classes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


def classification_answer(logits_BK: npt.NDArray[np.float32], notes: Mapping[str, Any]) -> dict[str, Any]:
    """`label` (a class), `class_index`, `probability` (of the best)."""
    shifted_BK = np.exp(logits_BK - logits_BK.max(axis=1, keepdims=True))
    best_B = logits_BK.argmax(axis=1)
    return {
        "label": [notes["classes"][index] for index in best_B],
        "class_index": best_B.astype(np.int64),
        "probability": (shifted_BK.max(axis=1) / shifted_BK.sum(axis=1)).astype(np.float64),
    }
