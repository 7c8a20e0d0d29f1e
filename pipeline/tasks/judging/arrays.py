"""Arrays that judging speaks of. Letters: N samples, K classes or labels."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Outputs = Mapping[str, npt.NDArray[np.float32]]
"""What a network gave for N samples: arrays (N, ...) by the name of the output."""
Targets = Mapping[str, npt.NDArray[Any]]
"""What is right for N samples, by the name of the target: a class int64 (N,), labels uint8 (N, K) of 0 and 1,
a number float64 (N,).
"""
FRACTION_DIGITS = 6
"""Decimals of fractions in tables."""
