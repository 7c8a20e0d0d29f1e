"""scikit-learn's figures of the answers to every kind of problem."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn import metrics as sk


def expected(notes: dict[str, Any], given: Any, truth: Any) -> dict[str, float]:
    """scikit-learn's figures of one problem."""
    if notes["name"] == "classification":
        found = given.argmax(axis=1)
        return {"score": sk.accuracy_score(truth, found), "top1": sk.accuracy_score(truth, found)}
    if notes["name"] == "regression":
        number = given[:, 0].astype(np.float64) * notes["std"] + notes["mean"]
        return {
            "mae": sk.mean_absolute_error(truth, number),
            "rmse": sk.root_mean_squared_error(truth, number),
            "r2": sk.r2_score(truth, number),
        }
    probabilities = 1 / (1 + np.exp(-given.astype(np.float64)))
    found = probabilities >= np.array(notes["thresholds"])
    seen = truth.any(axis=0)
    return {
        "score": sk.f1_score(truth, found, average="samples", zero_division=1.0),
        "macro_f1": sk.f1_score(truth, found, average="macro", zero_division=0.0),
        "micro_f1": sk.f1_score(truth, found, average="micro", zero_division=0.0),
        "map": sk.average_precision_score(truth[:, seen], probabilities[:, seen], average="macro"),
    }


def problems(notes: dict[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Prefix of the metrics, output, target and notes of each problem."""
    if notes["name"] != "heads":
        yield "", "value" if notes["name"] == "regression" else "logits", "label", notes
        return
    for name, head in notes["heads"].items():
        yield f"{name}/", name, name, head["task"]
