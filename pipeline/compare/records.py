"""The files that say what each variant is worth, and what each step of compression lost."""

from pydantic import Field

from pipeline.base.records import JsonFile
from pipeline.errors import ArtifactError

STEPS = {"pruned": "dense", "finetuned": "pruned", "quantized": "finetuned"}
"""Each variant that a step of compression made, with the one it was made from."""
VARIANTS = ("dense", *STEPS)
LOSS_NAME = "lost.json"


def references(variant: str) -> list[str]:
    """What a variant is compared with: the one it was made from, and dense."""
    return list(dict.fromkeys([STEPS[variant], "dense"])) if variant in STEPS else []


def speed_text(speedup: float) -> str:
    """A speed-up as a table prints it; what rounds to 1 is neither faster nor slower."""
    return f"{speedup:.2f}x" if round(speedup, 2) >= 1 else f"{speedup:.2f}x (slower)"


class Quality(JsonFile):
    """What metrics.json holds for every kind of problem. score: mean of the test images; macs: of one."""

    score: float = Field(ge=0, le=1)
    macs: int = Field(gt=0)
    params: int = Field(gt=0)
    size_bytes: int = Field(gt=0)


class Speedup(JsonFile):
    """Another variant's time over this one's, timed in turns; low, high: its interval, of 95 % or more."""

    ratio: float = Field(ge=0)
    low: float = Field(ge=0)
    high: float = Field(ge=0)

    @property
    def at_most(self) -> float:
        """The interval's upper end as it is printed: what rounds to 1 is neither faster nor slower."""
        return round(self.high, 2)

    def __str__(self) -> str:
        return f"{self.ratio:.2f} (95 %: {self.low:.2f} to {self.high:.2f})"


class Timing(JsonFile):
    """One batch size. speedup: against dense, and against the parent."""

    median_ms: float = Field(gt=0)
    p95_ms: float = Field(gt=0)
    images_per_s: float = Field(gt=0)
    speedup: dict[str, Speedup]
    repeats: int


class Latency(JsonFile):
    """latency.json: times on the device named in it, by batch size."""

    device: str
    threads: int
    runtime: str
    batches: dict[int, Timing]

    @property
    def measured_on(self) -> str:
        """Two latencies may be compared if this is the same."""
        return f"{self.device}, {self.threads} threads, {self.runtime}"

    def at(self, batch: int) -> Timing:
        """Raises ArtifactError for a batch size that was not timed."""
        if batch not in self.batches:
            raise ArtifactError(
                f"batch size {batch} was not timed, only {list(self.batches)}; run `dvc repro compare`"
            )
        return self.batches[batch]


class Change(JsonFile):
    """The mean score of the same images, before a step and after it; low, high: 95 % confidence interval of
    the change.
    """

    images: int
    before: float
    now: float
    change: float
    low: float
    high: float


class NamedChange(Change):
    """The change of one group of the task (a class), or of one slice of the test split."""

    name: str


class Comparison(JsonFile):
    """A variant against another one on the same test images.

    agreement: how far the answers are the same, mean over the images. lost, gained, swapped: images whose
    score fell, or rose, or that are wrong in another way than before. worst_group, worst_slice: None if there
    are none. Ratios are this one's over the other's.
    """

    score: Change
    agreement: float = Field(ge=0, le=1)
    lost: int
    gained: int
    swapped: int
    worst_group: NamedChange | None
    worst_slice: NamedChange | None
    macs_ratio: float
    params_ratio: float
    size_ratio: float


class Loss(JsonFile):
    """lost.json: a variant against each of `references`, by name; `parent` is the one it was made from."""

    parent: str
    against: dict[str, Comparison]
