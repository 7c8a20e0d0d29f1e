"""Arrays that judging speaks of. Letters: N samples, K classes."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Outputs = Mapping[str, npt.NDArray[np.float32]]
"""What a network gave for N samples: arrays (N, ...) by the name of the output."""
Targets = Mapping[str, Ints]
"""What is right for N samples: arrays (N, ...) by the name of the target."""
FRACTION_DIGITS = 6
"""Decimals of fractions in tables."""
