"""Answers of a number as PNG bytes, equal for equal numbers. Letter: N samples."""

import numpy as np
from matplotlib.figure import Figure

from pipeline.drawing import plain_style, png
from pipeline.tasks.judging.arrays import Floats

HISTOGRAM_BINS = 50


@plain_style()
def draw_predicted(answers_N: Floats, truths_N: Floats) -> bytes:
    """A point for each sample, with the diagonal on which an answer is right."""
    ends = [min(answers_N.min(), truths_N.min()), max(answers_N.max(), truths_N.max())]
    figure = Figure(figsize=(6, 6), layout="tight")
    axes = figure.subplots()
    axes.plot(ends, ends, linestyle="--", color="grey", label="right")
    axes.plot(truths_N, answers_N, linestyle="", marker=".", markersize=4, alpha=0.5, label="answers")
    axes.set(xlabel="truth", ylabel="answer", title="Answers")
    axes.legend(loc="upper left")
    return png(figure)


@plain_style()
def draw_errors(errors_N: Floats) -> bytes:
    """A histogram of answer less truth, with a line at no error."""
    # Wider than the errors, because numpy refuses to cut a range of neighbouring floats into bins.
    margin = 1e-6 * np.abs(errors_N).max() or 1.0
    ends = (errors_N.min() - margin, errors_N.max() + margin)
    figure = Figure(figsize=(6, 4), layout="tight")
    axes = figure.subplots()
    axes.hist(errors_N, bins=HISTOGRAM_BINS, range=ends, edgecolor="black", linewidth=0.5)
    axes.axvline(0, linestyle="--", color="grey")
    axes.set(xlabel="answer less truth", ylabel="images", title=f"Errors (mean {np.mean(errors_N):.4g})")
    return png(figure)
