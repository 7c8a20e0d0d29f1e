"""Per-channel mean and standard deviation from the sums of each image: exact, whatever their order."""

import math

from pipeline.data.intake.decoding.sums import Sums

LARGEST_BYTE = 255


def channel_statistics(sums: Sums, squares: Sums, num_pixels: int) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel, of pixels scaled to 0..1.

    sums, squares: of each image, (images, channels). num_pixels: of an image. A constant channel has standard
    deviation 1, so that normalising it gives 0 instead of NaN.
    """
    count = len(sums) * num_pixels
    totals = zip(sums.sum(axis=0).tolist(), squares.sum(axis=0).tolist(), strict=True)
    moments = [_moments(count, *of_channel) for of_channel in totals]
    return [mean for mean, _ in moments], [std for _, std in moments]


def _moments(count: int, total: int, squares: int) -> tuple[float, float]:
    """Python's integers do not overflow and divide correctly rounded."""
    variance = (squares * count - total * total) / (count * count)
    return total / (count * LARGEST_BYTE), math.sqrt(variance) / LARGEST_BYTE if variance else 1.0
