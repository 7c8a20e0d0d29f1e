"""The `prune` section of params.yaml."""

from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from pipeline.base.params import Name, Section
from pipeline.models.description.params import NetworkParams

Importance = Literal["l1", "l2", "bn_scale", "taylor", "hessian", "lamp", "random"]
Kind = Literal["macs", "params", "latency", "weights"]
KINDS: tuple[Kind, ...] = ("macs", "params", "latency", "weights")
DETAILS: dict[str, Kind] = {
    "device": "latency",
    "batch": "latency",
    "threads": "latency",
    "pattern": "weights",
}
"""Keys that only one kind of target has."""
PATTERN_SHARE = 0.5
Fraction = Annotated[float, Field(gt=0.0, le=1.0)]
EXAMPLE = "{latency: 0.5, device: cpu, batch: 1}"


class PartsParams(Section):
    parts: int = Field(
        ge=2, le=1000, description="cuts; after i of n the removed share is 1 - (1 - i/n)^3 of the whole"
    )
    epochs: int = Field(
        ge=1, le=100_000, description="of training between two cuts, otherwise as the section `finetune` says"
    )


class PruneTarget(Section):
    """What the pruned network may cost at most, as a fraction of the dense one: one of four measures."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": [kind]} for kind in KINDS]})

    macs: Fraction | None = Field(default=None, description="multiply-accumulates of one image")
    params: Fraction | None = Field(default=None, description="numbers that are trained")
    latency: Fraction | None = Field(
        default=None,
        description="time of one batch, of whole networks that the stage `profile` times on this machine",
    )
    device: Literal["cpu", "cuda"] | None = Field(
        default=None,
        description="of latency: cpu is the exported file in onnxruntime, cuda the network in torch",
    )
    batch: int | None = Field(default=None, ge=1, le=65_536, description="of latency: images at a time")
    threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="of latency on a cpu: threads of onnxruntime; 1 if not given",
    )

    weights: Fraction | None = Field(
        default=None,
        description="single weights of convolutions and linear layers that stay; the others become zeros, "
        "which make weights.safetensors smaller and nothing faster; round_to and max_ratio, which limit "
        "channels, count for nothing",
    )
    pattern: Literal["2_of_4"] | None = Field(
        default=None,
        description="of weights: two of every four along a layer's inputs stay, for tensor cores that know "
        "them",
    )

    @model_validator(mode="before")
    @classmethod
    def _says_what_of(cls, value: Any) -> Any:
        if isinstance(value, int | float):
            raise ValueError(
                f"{value} of what? Write {{macs: {value}}}, {{params: {value}}} or for example {EXAMPLE}"
            )
        return value

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(
                f"has {' and '.join(given) or 'none'} of {', '.join(KINDS)}, but one is the target, as in "
                f"{EXAMPLE}"
            )
        for name, kind in DETAILS.items():
            if getattr(self, name) is not None and self.kind != kind:
                raise ValueError(f"{name} belongs to {kind}, but the target is {self.kind}; remove it")
        if self.pattern and self.weights != PATTERN_SHARE:
            raise ValueError(
                f"pattern 2_of_4 keeps {PATTERN_SHARE} of the weights, not {self.weights}; write that"
            )
        if self.kind == "latency" and (self.device is None or self.batch is None):
            raise ValueError(f"latency needs a device and a batch, for example {EXAMPLE}")
        if self.device == "cuda" and self.threads is not None:
            raise ValueError("threads are onnxruntime's on a cpu, but the device is cuda; remove them")
        return self

    @property
    def kind(self) -> Kind:
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def fraction(self) -> float:
        value: float = getattr(self, self.kind)
        return value


class ShapeParams(Section):
    """The part of `prune` that decides the shape of the pruned network, which `profile` reads too."""

    target: PruneTarget
    scope: Literal["global", "layer"] = Field(
        description="global: rank the channels of all layers together; layer: the same fraction of each"
    )
    importance: Importance = Field(
        description="a channel's worth: L1 or L2 norm of its weights, batch-norm scale (after "
        "train.sparsity), first-order (taylor) or second-order (hessian) effect on the loss for what the "
        "channel costs, lamp (l2 among the channels of its layer that are larger), or random, the baseline"
    )
    round_to: Annotated[int, Field(ge=1, le=256)] | Literal["auto"] = Field(
        description="kept channels are a multiple of this; auto: of 1, 4, 8, 16 or 32, whichever made the "
        "fastest network of equal cost when the stage `profile` measured them on this machine"
    )
    max_ratio: float = Field(
        gt=0.0, lt=1.0, description="largest fraction of one layer's channels that may go"
    )
    ignored: list[Name] = Field(
        max_length=1000,
        description="modules whose output channels all stay, and those inside: names or patterns, such as "
        '["stem", "*.conv1"]; '
        "stem is the first layer of every network, whatever its name",
    )
    sample_batches: int = Field(
        ge=1,
        le=100_000,
        description="training batches that give gradients for taylor and hessian, and batch norms their "
        "means and variances after the cut",
    )
    batch_size: int = Field(ge=1, le=65_536, description="images per batch, of the sample and for validation")
    seed: int = Field(
        ge=0,
        lt=2**31,
        description="which training images give gradients; importance random; a student's weights",
    )
    student: NetworkParams | None = Field(
        description="another network in the place of a pruned one, with random weights, which finetune "
        "trains and distils into; the keys that choose channels then count for nothing; null to prune"
    )


class PruneParams(ShapeParams):
    schedule: PartsParams | None = Field(
        description="cut in parts with training in between, less in each (Zhu & Gupta 2017); null for one cut"
    )

    @model_validator(mode="after")
    def _nothing_is_cut_of_a_student(self) -> "PruneParams":
        if self.student and self.ignored:
            raise ValueError(
                "ignored names modules of the dense model, of which a student has none; set ignored to []"
            )
        if self.student and self.schedule:
            raise ValueError("a student is not cut, in parts or at all; set schedule to null")
        return self

    @model_validator(mode="after")
    def _fits_single_weights(self) -> "PruneParams":
        if self.target.kind == "weights" and self.importance == "bn_scale":
            raise ValueError("importance bn_scale judges channels, but the target is weights; take another")
        if self.target.pattern and self.schedule:
            raise ValueError("a pattern is there at once or not at all; set schedule to null")
        return self
