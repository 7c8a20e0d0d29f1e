"""Per-channel mean and standard deviation from integer counts: exact, whatever the order of the rows."""

import math

import numpy as np

from pipeline.data.fields.image import Pixels
from pipeline.data.prepared.shards import Indices

STATISTICS_CHUNK_ROWS = 1024
PIXEL_VALUES = 256
LARGEST_BYTE = PIXEL_VALUES - 1


def channel_statistics(pixels: Pixels, indices: Indices, channels: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel, of pixels scaled to 0..1, over the rows at `indices`.

    pixels: (rows, height * width * channels). A constant channel has standard deviation 1, so that
    normalising it gives 0 instead of NaN.
    """
    histograms = np.zeros((channels, PIXEL_VALUES), np.int64)
    for first in range(0, len(indices), STATISTICS_CHUNK_ROWS):
        chunk = pixels[indices[first : first + STATISTICS_CHUNK_ROWS]].reshape(-1, channels)
        for channel in range(channels):
            histograms[channel] += np.bincount(chunk[:, channel], minlength=PIXEL_VALUES)
    moments = [_moments(histogram.tolist()) for histogram in histograms]
    return [mean for mean, _ in moments], [std for _, std in moments]


def _moments(histogram: list[int]) -> tuple[float, float]:
    """Python's integers do not overflow and divide correctly rounded."""
    count = sum(histogram)
    total = sum(value * times for value, times in enumerate(histogram))
    squares = sum(value * value * times for value, times in enumerate(histogram))
    variance = (squares * count - total * total) / (count * count)
    return total / (count * LARGEST_BYTE), math.sqrt(variance) / LARGEST_BYTE if variance else 1.0
