"""What a sweep has measured: a candidate is one variant of one point. And which of them are worth having."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field, ValidationError

from pipeline.base.params import parse_section
from pipeline.base.records import FileT, JsonFile, key_problems
from pipeline.compare.records import Latency, Quality
from pipeline.errors import ArtifactError
from pipeline.frontier.experiments import Experiment
from pipeline.frontier.points import PRUNED, QUANTIZED, Project
from pipeline.registry.candidates import PARENTS
from pipeline.registry.params import RegisterParams
from pipeline.tracking.records import flatten

OTHER_STATE = "of other code, data or a dense model of other params"


class _Pruned(JsonFile):
    """reports/prune.json"""

    dense_val_score: float = Field(ge=0, le=1)


class _Quantized(JsonFile):
    """reports/quantize.json: of the int8 file and of the fine-tuned model that it was made from."""

    val_score: float = Field(ge=0, le=1)
    float_val_score: float = Field(ge=0, le=1)


@dataclass(frozen=True)
class Speed:
    """Speed at one batch size. speedup: the dense model's time over this one's, timed in turns.

    step_at_most: the most that the time of the model it was made from over this one's may be, at 95 %.
    """

    ms: float
    speedup: float
    step_at_most: float


@dataclass(frozen=True)
class Candidate:
    """label: the values in which its point differs from the others, empty for the dense model.

    score, val_score: on the test and on the validation split. Choose by the second: who chooses by the test
    split has no test left. speeds: by batch size, ms on the device that `measured_on` names.
    """

    experiment: str
    variant: str
    label: str
    score: float
    val_score: float
    macs: int
    size_bytes: int
    measured_on: str
    speeds: dict[int, Speed]


@dataclass(frozen=True)
class Frontier:
    """keys: the parameters whose values make the labels. left_out: how many experiments do not compare, by
    what they are. min_step: `register.min_parent_speedup`.

    All its speeds were measured on one device: speed-ups hold among processes and not among devices.
    """

    dense: Candidate
    candidates: list[Candidate]
    keys: list[str]
    left_out: dict[str, int]
    min_step: float

    @property
    def batches(self) -> list[int]:
        """The sizes that were timed. The first, of which latencies are stated, is the smallest."""
        return sorted(self.dense.speeds)

    def speedup(self, each: Candidate) -> float:
        return each.speeds[self.batches[0]].speedup

    def ms(self, each: Candidate, batch: int | None = None) -> float:
        """Time comparable among processes: the part of the dense model's that the candidate took."""
        size = batch or self.batches[0]
        return self.dense.speeds[size].ms / each.speeds[size].speedup

    def pareto(self, batch: int) -> list[Candidate]:
        """Candidates, slowest first, that no other beats in speed or score without losing in the other."""

        def goods(each: Candidate) -> tuple[float, float]:
            return each.speeds[batch].speedup, each.score

        def beaten(each: Candidate) -> bool:
            rivals = [goods(other) for other in everyone if goods(other) != goods(each)]
            return any(speedup >= goods(each)[0] and score >= goods(each)[1] for speedup, score in rivals)

        everyone = [self.dense, *self.candidates]
        return sorted((each for each in everyone if not beaten(each)), key=goods)

    def eligible(self, keep: float, max_ms: float | None) -> list[Candidate]:
        """Candidates that keep a fraction of dense's validation score, in max_ms or less at the smallest
        batch.

        None that is slower than what it was made from, which `register` refuses.
        """
        floor = keep * self.dense.val_score
        kept = [
            each
            for each in self.candidates
            if each.val_score >= floor and (max_ms is None or self.ms(each) <= max_ms)
        ]
        return [each for each in kept if not self.is_refused(each)]

    def is_refused(self, each: Candidate) -> bool:
        return each.speeds[self.batches[0]].step_at_most < self.min_step

    def smallest(self, some: Sequence[Candidate]) -> Candidate:
        return min(some, key=lambda each: (each.size_bytes, -each.val_score, each.experiment))

    def fastest(self, some: Sequence[Candidate]) -> Candidate:
        return max(some, key=lambda each: (self.speedup(each), each.val_score, each.experiment))


def frontier(project: Project, experiments: Sequence[Experiment], variants: Sequence[str]) -> Frontier:
    """Frontier of the experiments with this code, data and dense model, timed on the commonest device.

    Raises ArtifactError if there is none, or one lacks a figure.
    """
    comparable = sorted(
        (each for each in experiments if _comparable(project, each)), key=lambda each: each.name
    )
    others = len(experiments) - len(comparable)
    if not comparable:
        why = f" ({others} {OTHER_STATE})" if others else ""
        raise ArtifactError(
            f"no experiments on this commit to show{why}; make some: `espalier frontier run --set ...`"
        )
    mine, left_out = _on_one_device(comparable)
    if others:
        left_out[OTHER_STATE] = others
    keys = _varying(project, mine)
    found: dict[tuple[str, str], Candidate] = {}
    for variant in variants:
        sections = project.sections_behind(f"reports/{variant}/metrics.json")
        own = [key for key in keys if key.split(".")[0] in sections]
        for experiment, label in zip(mine, _labels(mine, own), strict=True):
            # The same in each point that shares it.
            found.setdefault((variant, label), _candidate(experiment, variant, label))
    min_step = parse_section("register", project.values["register"], RegisterParams).min_parent_speedup
    return Frontier(_candidate(mine[0], "dense", ""), list(found.values()), keys, left_out, min_step)


def _on_one_device(experiments: Sequence[Experiment]) -> tuple[list[Experiment], dict[str, int]]:
    """The experiments of the device that timed most of them, and how many each other device timed."""
    devices = [_read(each, "reports/dense/latency.json", Latency).measured_on for each in experiments]
    timed = Counter(devices)
    device = max(sorted(timed), key=lambda each: timed[each])
    mine = [each for each, timed_on in zip(experiments, devices, strict=True) if timed_on == device]
    return mine, {
        f"timed on {other}, whose speeds do not compare": number
        for other, number in sorted(timed.items())
        if other != device
    }


def _comparable(project: Project, experiment: Experiment) -> bool:
    needed = project.fixed | project.free
    if not needed <= experiment.params.keys():
        return False
    same_dense = all(experiment.params[section] == project.values[section] for section in project.fixed)
    return same_dense and project.point({}, experiment.params).name == experiment.name


def _varying(project: Project, experiments: Sequence[Experiment]) -> list[str]:
    """Free parameters that are not the same in all experiments."""
    flat = [flatten(each.params) for each in experiments]
    names = sorted({name for values in flat for name in values if name.split(".")[0] in project.free})
    return [name for name in names if len({values.get(name) for values in flat}) > 1]


def _labels(experiments: Sequence[Experiment], keys: Sequence[str]) -> list[str]:
    """The values of these keys; with its name if a key is not in all, as of {macs: 0.5} and {params: 0.5}."""
    flat = [flatten(each.params) for each in experiments]
    shared = {key for key in keys if all(key in values for values in flat)}

    def said(key: str, value: str) -> str:
        return value if key in shared else f"{key.rpartition('.')[2]}={value}"

    return [" ".join(said(key, values[key]) for key in keys if key in values) for values in flat]


def _candidate(experiment: Experiment, variant: str, label: str) -> Candidate:
    quality = _read(experiment, f"reports/{variant}/metrics.json", Quality)
    latency = _read(experiment, f"reports/{variant}/latency.json", Latency)
    pruned = _read(experiment, PRUNED, _Pruned)
    quantized = _read(experiment, QUANTIZED, _Quantized)
    val_score = {
        "dense": pruned.dense_val_score,
        "finetuned": quantized.float_val_score,
        "quantized": quantized.val_score,
    }
    return Candidate(
        experiment=experiment.name,
        variant=variant,
        label=label,
        score=quality.score,
        val_score=val_score[variant],
        macs=quality.macs,
        size_bytes=quality.size_bytes,
        measured_on=latency.measured_on,
        speeds=_speeds(latency, PARENTS[variant] or variant),
    )


def _read(experiment: Experiment, path: str, model: type[FileT]) -> FileT:
    try:
        return model.model_validate(experiment.metrics.get(path, {}))
    except ValidationError as error:
        cure = f"`dvc exp remove {experiment.name}`, then run the sweep again"
        raise ArtifactError(
            f"{path} of experiment {experiment.name}: {key_problems(error)}; {cure}"
        ) from error


def _speeds(latency: Latency, parent: str) -> dict[int, Speed]:
    return {
        size: Speed(each.median_ms, each.speedup["dense"].ratio, each.speedup[parent].at_most)
        for size, each in latency.batches.items()
    }
