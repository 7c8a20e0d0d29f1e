"""What the stage `profile` says before any training, as JSON: the rounding, and how long networks of other widths take.

A layer of o outputs and i inputs is taken to take time(o, all inputs) * time(all outputs, i) / time(all, all): with each side
timed at every width that rounding can leave, the steps of the hardware are in the table without a grid of both sides
(with half the channels everywhere, onnxruntime at 32 px: ResNet-18's 3x3 layers within 3 % of their times, its small ones
within 10 %, ResNet-20's within 20 %, which the fit to whole networks mends).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import ArtifactError
from pipeline.files import to_json

Widths = Mapping[str, tuple[int, int]]
"""Output and input channels of each layer, by module name."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


class SideTimes(_Frozen):
    """A layer's times at some widths of one side, the other side whole. channels: rising, the last is all of them."""

    channels: list[int]
    ms: list[float]

    def share(self, channels: int) -> float:
        """Of the time that the whole layer takes."""
        return float(np.interp(channels, self.channels, self.ms)) / self.ms[-1]


class LayerTimes(_Frozen):
    """A layer alone, on one batch. in_ is None where its inputs are its outputs (a depthwise convolution)."""

    out: SideTimes
    in_: SideTimes | None
    outputs: int
    """Numbers that it gives for one image, per output channel."""
    weights: int
    """Numbers that it holds, per output and input channel."""

    def ms(self, out: int, in_: int) -> float:
        return self.out.ms[-1] * self.out.share(out) * (self.in_.share(in_) if self.in_ else 1.0)


class Terms(NamedTuple):
    """What a prediction is a weighted sum of: sums over the layers, each as a fraction of the dense network's.

    one: what no width changes. layers: their times. outputs: their output numbers, which take back what a layer alone spends
    on bringing its tensors into the runtime's layout. weights: their weights, which come out of the cache when a layer is
    timed alone, and of memory in a network of many.
    """

    one: float
    layers: float
    outputs: float
    weights: float

    def dot(self, other: "Terms") -> float:
        return sum(a * b for a, b in zip(self, other, strict=True))


class Trial(_Frozen):
    """A network cut at random and timed beside the dense one, as fractions of it. predicted: by a fit to the other trials."""

    predicted: float
    measured: float


class LatencyTable(_Frozen):
    """Predicts what fraction of the dense network's time a narrower one takes on the device."""

    device: str
    runtime: str
    batch: int
    modules: dict[str, int]
    """Index into `times` of each module's layer; equal layers share one."""
    times: list[LayerTimes]
    fit: Terms
    """Weights of the terms, from the trials."""
    trials: list[Trial]
    error: float
    """Root mean square of the differences of the trials."""

    def fraction(self, widths: Widths) -> float:
        return self.fit.dot(self.terms(widths))

    def terms(self, widths: Widths) -> Terms:
        layers = {name: self.times[index] for name, index in self.modules.items()}
        dense = {name: (each.out.channels[-1], each.in_.channels[-1] if each.in_ else 1) for name, each in layers.items()}
        found, whole = (_sums(layers, each) for each in (widths, dense))
        return Terms(1.0, *(part / all_ for part, all_ in zip(found, whole, strict=True)))


class RoundingTrial(_Frozen):
    """A network cut at random with its channels rounded: fractions of the dense network's cost and latency.

    lowest: the latency without any channel that may go, for a target of latency.
    """

    round_to: int
    cost: float
    latency: float
    lowest: float | None


class Profile(_Frozen):
    """reports/profile.json. latency is None where the target is not one of latency."""

    round_to: int
    roundings: list[RoundingTrial]
    latency: LatencyTable | None

    def to_json(self) -> str:
        return to_json(self.model_dump())

    def metrics(self) -> dict[str, float]:
        """Flat numbers, for a reporter."""
        values: dict[str, float] = {"round_to": self.round_to}
        values |= {f"latency_rounded_to_{trial.round_to}": trial.latency for trial in self.roundings}
        return values | ({"latency_error": self.latency.error} if self.latency else {})


def read_profile(path: Path) -> Profile:
    """Raises ArtifactError where the file is not what the stage `profile` writes."""
    try:
        return Profile.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ArtifactError(
            f"{path}: not a profile ({' '.join(str(error).split())}); run `dvc repro --force profile`"
        ) from error


def _sums(layers: Mapping[str, LayerTimes], widths: Widths) -> tuple[float, int, int]:
    return (
        sum(layer.ms(*widths[name]) for name, layer in layers.items()),
        sum(layer.outputs * widths[name][0] for name, layer in layers.items()),
        sum(layer.weights * widths[name][0] * (widths[name][1] if layer.in_ else 1) for name, layer in layers.items()),
    )
