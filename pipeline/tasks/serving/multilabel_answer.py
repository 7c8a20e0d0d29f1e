"""Columns of answers of any of K labels. A copy travels with the model, so it imports nothing of Espalier.

Letters: B batch, K labels.
"""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

DIGITS = 6
"""Decimals of a probability."""


def multilabel_answer(logits_BK: npt.NDArray[np.float32], notes: Mapping[str, Any]) -> dict[str, Any]:
    """`labels`, a JSON list, and `probabilities`, a JSON object, because a label may have any name."""
    names = notes["classes"]
    probabilities_BK = _sigmoid(logits_BK.astype(np.float64))
    given_BK = probabilities_BK >= np.array(notes["thresholds"])
    return {
        "labels": [
            _json([name for name, given in zip(names, given_K, strict=True) if given]) for given_K in given_BK
        ],
        "probabilities": [
            _json(dict(zip(names, probabilities_K.tolist(), strict=True)))
            for probabilities_K in probabilities_BK.round(DIGITS)
        ],
    }


def _sigmoid(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Logistic function, of which no exponential overflows."""
    small = np.exp(-np.abs(logits))
    return np.where(logits >= 0, 1.0, small) / (1.0 + small)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
