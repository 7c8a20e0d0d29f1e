"""The stage `profile`: what pruning must know of this machine, so that pruning stays a pure function."""

from pathlib import Path

from pipeline.prune.params import ShapeParams
from pipeline.prune.profile_report import Profile
from pipeline.tasks.description.params import TaskParams


def make_profile(dense: Path, data: Path, params: ShapeParams, task: TaskParams) -> Profile:
    """Measure what the section asks for, on the trained network: nothing for fixed rounding and counted
    target.

    Nor does it import torch then. Raises CompressionError if the network cannot be traced, cut or exported,
    the target is out of reach, or this machine lacks the device; ArtifactError and DataError if an input is
    unusable.
    """
    if params.student or params.target.kind == "weights":
        return Profile(round_to=1, roundings=[], chosen=None)
    if params.target.kind != "latency" and params.round_to != "auto":
        return Profile(round_to=params.round_to, roundings=[], chosen=None)
    from pipeline.profile.measure import Subject, measure  # torch and onnxruntime: seconds
    from pipeline.profile.timing import open_device

    device = open_device(params.target)
    return measure(Subject.of(dense, data, params, task), device)
