"""The stage `profile`: what pruning must know of this machine, found before hours of training."""

from pipeline.compress.latency_table import Profile
from pipeline.compress.params import ShapeParams
from pipeline.models.spec import ModelSpec


def make_profile(spec: ModelSpec, params: ShapeParams) -> Profile:
    """Measure what the section asks for: with a fixed rounding and a target of MACs or parameters, nothing.

    Even then names of layers to ignore and networks of other libraries are tried, rather than after hours of training. For the
    built-in networks, which can all be traced, this stage imports no torch, and takes no 3 s.
    Raises CompressionError where the network cannot be traced or exported, the target is out of reach, or this machine lacks
    the device.
    """
    if params.target.kind == "weights":
        if params.ignored:
            from pipeline.compress.measure import check_names

            check_names(spec, params.ignored)
        return Profile(round_to=1, roundings=[], latency=None)
    if params.target.kind != "latency" and params.round_to != "auto":
        if params.ignored or "/" in spec.architecture.name:
            from pipeline.compress.measure import check

            check(spec, params, params.round_to)
        return Profile(round_to=params.round_to, roundings=[], latency=None)
    from pipeline.compress.measure import measure  # torch and onnxruntime: seconds
    from pipeline.compress.timing import open_device

    return measure(spec, params, open_device(params.target))
