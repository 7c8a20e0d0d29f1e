"""What a model must reach to be registered, and when it becomes the champion.

Pure: figures in, verdicts out.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.compare.records import Change, NamedChange, Timing
from pipeline.errors import GateError
from pipeline.export.parity import Parity
from pipeline.registry.candidates import PARENTS
from pipeline.registry.figures import Figures
from pipeline.registry.params import RegisterParams

SLOWER_CURES = {
    "quantized": "int8 is slower than the floats it was made from: `register.candidate: finetuned` registers "
    "those",
    "finetuned": "Fewer channels are slower than all of them: `prune.round_to: auto` keeps to numbers that "
    "this machine likes",
}
"""Remedies, by candidate, if the step that made it made it slower."""


@dataclass(frozen=True)
class Gate:
    """One figure against its limit; `key` is the limit's name in the section `register`.

    interval: of the figure with 95 % confidence; `of` names what it comes from. The figure itself decides: a
    limit for the interval's far end would measure the test split more than the model (of 36 images, none of
    which changed, it is already 0.073), one for the near end would let a small test split pass anything. Of a
    time `at_most` decides, if it is given: the interval's near end, since a machine's other work alone makes
    equal files differ. cure: what helps beside a new limit.
    """

    name: str
    figure: float
    limit: float
    at_least: bool
    key: str
    of: str = ""
    interval: tuple[float, float] | None = None
    at_most: float | None = None
    cure: str = ""

    @property
    def passed(self) -> bool:
        decides = self.figure if self.at_most is None else self.at_most
        return decides >= self.limit if self.at_least else decides <= self.limit

    def __str__(self) -> str:
        sign = ">=" if self.at_least else "<="
        outcome = "pass" if self.passed else "FAIL"
        sure = (
            f"  (95 %: {self.interval[0]:.4f} to {self.interval[1]:.4f}, {self.of})" if self.interval else ""
        )
        return (
            f"{outcome}  {self.name:<34} {self.figure:>9.4f}  {sign} {self.limit:<8g} "
            f"register.{self.key}{sure}"
        )

    def record(self) -> dict[str, float | bool]:
        sure = {"low": self.interval[0], "high": self.interval[1]} if self.interval else {}
        return {"figure": self.figure, "limit": self.limit, "passed": self.passed, **sure}


@dataclass(frozen=True)
class Verdict:
    """Every gate of one candidate."""

    candidate: str
    gates: tuple[Gate, ...]

    def __str__(self) -> str:
        return "\n".join(f"  {gate}" for gate in self.gates)

    def demand(self) -> None:
        """Raises GateError that shows every gate if one fails."""
        failed = [gate for gate in self.gates if not gate.passed]
        if failed:
            limits = ", ".join(f"register.{gate.key}" for gate in failed)
            cures = [
                "Improve the model (train, prune.target, finetune), or, if a limit is wrong, change "
                f"{limits} in params.yaml"
            ]
            cures += [gate.cure for gate in failed if gate.cure]
            fails = f"{self.candidate} fails {len(failed)} of {len(self.gates)} gates; nothing was registered"
            raise GateError("\n".join([fails, str(self), *cures]))

    def table(self) -> dict[str, dict[str, float | bool]]:
        """The gates by name, as `dvc metrics` reads them."""
        return {gate.name: gate.record() for gate in self.gates}


def judge(params: RegisterParams, figures: Mapping[str, Figures], parities: Mapping[str, Parity]) -> Verdict:
    """Hold the candidate against the limits and against dense, and every export against its network.

    figures: at least the candidate's. parities: one for each variant that is to be registered.
    An int8 file rounds on purpose, so its outputs may differ from its parent's; its decisions may not.
    Raises ArtifactError if the batch size of the speed-up was not timed.
    """
    candidate, batch = figures[params.candidate], params.speed_batch
    assert candidate.loss is not None, "RegisterParams.candidate is a variant that a step made"
    lost = candidate.loss.against["dense"]
    same = params.min_agreement_with_dense
    gates = [
        Gate("score", candidate.quality.score, params.min_score, True, "min_score"),
        _drop("score lost against dense", lost.score, params.max_drop, "max_drop"),
        *_worst_group(params, lost.worst_group),
        Gate("agreement with dense", lost.agreement, same, True, "min_agreement_with_dense"),
        *_speeds(params, candidate.latency.at(batch)),
    ]
    for name, parity in parities.items():
        if name != "quantized":
            difference = parity.max_diff
            gates.append(
                Gate(
                    f"{name} export: difference",
                    difference,
                    params.max_export_diff,
                    False,
                    "max_export_diff",
                )
            )
        gates.append(
            Gate(
                f"{name} export: agreement",
                parity.agreement,
                params.min_export_agreement,
                True,
                "min_export_agreement",
            )
        )
    return Verdict(params.candidate, tuple(gates))


@dataclass(frozen=True)
class VersionFigures:
    """A registered version as the champion rule sees it; data: digest of the data that the score was
    measured on.
    """

    version: int
    score: float
    latency_ms: float
    measured_on: str
    data: str


@dataclass(frozen=True)
class Decision:
    moves: bool
    reason: str

    def __str__(self) -> str:
        return f"{'is the new champion' if self.moves else 'does not replace the champion'}: {self.reason}"


def decide(params: RegisterParams, candidate: VersionFigures, champion: VersionFigures | None) -> Decision:
    """Champion rule: a gain of score of `champion_min_gain` wins; within it, a latency ratio of
    `champion_min_speedup` does.

    Figures of other data or another device are not comparable, and then the champion stays.
    """
    if champion is None:
        return Decision(True, "there was no champion")
    if champion.version == candidate.version:
        return Decision(False, "it is the champion already")
    if why := _incomparable(candidate, champion):
        return Decision(
            False, f"{why}; `espalier promote` moves the alias, or register under another model_name"
        )
    gain = _difference(candidate.score, champion.score)
    if gain and abs(gain) >= params.champion_min_gain:
        return Decision(gain > 0, f"score {candidate.score:.4f} against the champion's {champion.score:.4f}")
    if champion.measured_on != candidate.measured_on:
        return Decision(
            False,
            f"as accurate as the champion, whose latency was measured elsewhere ({champion.measured_on})",
        )
    ratio = champion.latency_ms / candidate.latency_ms
    return Decision(
        ratio >= params.champion_min_speedup and ratio > 1,
        f"as accurate as the champion and {ratio:.2f} times as fast; {params.champion_min_speedup:g} "
        "times is asked for",
    )


def _incomparable(candidate: VersionFigures, champion: VersionFigures) -> str | None:
    if not (math.isfinite(champion.score) and champion.latency_ms > 0):
        return "the champion has no figures to compare (tags score, latency_ms): another tool made it"
    return None if champion.data == candidate.data else "the champion was measured on other data"


def _worst_group(params: RegisterParams, worst: NamedChange | None) -> list[Gate]:
    """The gate of the worst group, none if the task tells no groups apart."""
    if worst is None:
        return []
    name, kind = "score lost by the worst group", f" of {worst.name!r}"
    return [_drop(name, worst, params.max_group_drop, "max_group_drop", kind)]


def _drop(name: str, change: Change, limit: float, key: str, kind: str = "") -> Gate:
    """kind: which of the test images these are."""
    interval = (0.0 - change.high, 0.0 - change.low)
    return Gate(name, 0.0 - change.change, limit, False, key, f"{change.images} images{kind}", interval)


def _speeds(params: RegisterParams, timing: Timing) -> list[Gate]:
    """Against dense, and whether the step that made the candidate of its parent made it slower."""
    parent = PARENTS[params.candidate]
    assert parent is not None, "RegisterParams.candidate is a variant that a step made"
    batch, whole, step = params.speed_batch, timing.speedup["dense"], timing.speedup[parent]
    return [
        Gate(
            f"speed-up at batch {batch}",
            whole.ratio,
            params.min_speedup,
            True,
            "min_speedup",
            f"{timing.repeats} runs",
            (whole.low, whole.high),
        ),
        Gate(
            f"speed against {parent} at batch {batch}",
            step.ratio,
            params.min_parent_speedup,
            True,
            "min_parent_speedup",
            f"{timing.repeats} runs",
            (step.low, step.high),
            at_most=step.at_most,
            cure=SLOWER_CURES[params.candidate],
        ),
    ]


def _difference(a: float, b: float) -> float:
    """a - b as a person would calculate it: 0.99 - 0.985 must not exceed 0.005 in its last bit."""
    return round(a - b, 9)
