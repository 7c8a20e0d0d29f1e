"""The `train` and `finetune` sections of params.yaml: one model for one training function."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from pipeline.base.params import Name, Section
from pipeline.data.augmentation.params import AugmentParams

Device = Literal["cpu", "cuda"]
Sampling = Literal["shuffle", "balanced"]
LOGICAL_SHARDS = 4
"""Parts of each batch with exact_elastic, and so its largest number of workers. More would make the parts,
and with them the batch statistics, poorer."""


class OptimizerParams(Section):
    name: Literal["sgd", "adamw", "muon"] = Field(
        description="sgd: Nesterov momentum; adamw: decoupled weight decay (Loshchilov & Hutter 2019); "
        "muon: orthogonal steps for convolutions, sgd for the rest (Jordan et al. 2024)"
    )
    lr: float = Field(gt=0.0, le=10.0, description="peak learning rate, for the whole global batch")
    momentum: float = Field(ge=0.0, lt=1.0, description="sgd and muon: Nesterov momentum; adamw: beta1")
    weight_decay: float = Field(
        ge=0.0,
        le=1.0,
        description="applied to weights of two or more dimensions only, not to norms and biases",
    )
    lr_factors: dict[Name, Annotated[float, Field(ge=0.0, le=1e5)]] = Field(
        max_length=100,
        description="patterns of parameter names, as in a shell, and what their learning rate is multiplied "
        "by; the first "
        'that fits counts, for example {"head.*": 10}',
    )
    layer_decay: float | None = Field(
        gt=0.0,
        le=1.0,
        description="factor from the learning rate of a layer to that of the one before it, the last layer's "
        "being lr; for networks that start from trained weights, whose first layers need to change least; "
        "null: all layers learn alike",
    )


class ScheduleParams(Section):
    name: Literal["cosine", "one_cycle"] = Field(
        description="after warm-up: half a cosine, or a straight line, down to the final rate"
    )
    warmup: float = Field(
        ge=0.0, lt=1.0, description="fraction of all steps over which the rate rises linearly"
    )
    final: float = Field(
        ge=0.0, le=1.0, description="learning rate at the last step, as a fraction of the peak"
    )


class FeatureParams(Section):
    kind: Literal["features", "attention"] = Field(
        description="features: the maps themselves, through a 1x1 convolution if channels differ (Romero et "
        "al. 2015); attention: where their energy lies (Zagoruyko & Komodakis 2017)"
    )
    weight: float = Field(gt=0.0, le=1e6, description="factor of this loss, which is added to the others")
    layers: dict[Name, Name] | None = Field(
        min_length=1,
        max_length=100,
        description='modules of the student, and for each that of the teacher, for example {"stages.2": '
        '"stages.2"}; null for '
        "the last stages that give maps of the same size",
    )


class DistilParams(Section):
    teacher: Literal["dense", "file"] = Field(
        description="dense: the model that was pruned; file: the one in data/teacher, which "
        "`espalier weights --teacher` brings"
    )
    temperature: float = Field(
        gt=0.0, le=100.0, description="softens both distributions (Hinton et al. 2015)"
    )
    weight: float = Field(ge=0.0, le=1.0, description="share of the teacher's loss; the rest is the task's")
    features: FeatureParams | None = Field(
        description="learn from the teacher's maps too; null for its answers alone"
    )


class SparsityParams(Section):
    penalty: Literal["group_lasso", "bn_l1"] = Field(
        description="group_lasso: norm of all weights that pruning a channel would remove, for importance "
        "l1, l2 and lamp; bn_l1: batch-norm scales, for importance bn_scale (Liu et al. 2017)"
    )
    weight: float = Field(
        gt=0.0, le=1.0, description="factor of the penalty, whose gradient is added at every step"
    )


class QuantizationAwareParams(Section):
    start: float = Field(
        ge=0.0,
        lt=1.0,
        description="fraction of all steps after which weights and activations are rounded to 8 bits",
    )
    reduce_range: bool = Field(description="7-bit weights; the same as quantize.reduce_range")


class FitParams(Section):
    renamed: ClassVar[dict[str, str]] = {"keep": "final_weights"}

    epochs: int = Field(ge=1, le=100_000, description="passes over the training split")
    global_batch_size: int = Field(
        ge=1, le=1_000_000, description="images per optimizer step, over all workers"
    )
    sampling: Sampling = Field(
        description="shuffle: each image once per epoch; balanced: as many of each class, repeated or left "
        "out by turns"
    )
    accumulate: int = Field(
        ge=1,
        le=1_000_000,
        description="parts that each worker cuts its share of a batch into, to save memory",
    )
    optimizer: OptimizerParams
    schedule: ScheduleParams
    amp: Literal["off", "bf16", "fp16"] = Field(
        description="autocast precision; fp16 (with a gradient scaler) needs CUDA"
    )
    exact_elastic: bool = Field(
        description="weights that do not depend on the number of workers, to the bit: the batch is cut into "
        "4 parts with batch statistics of their own, computed by 1 to 4 workers"
    )
    channels_last: bool = Field(description="NHWC memory layout, faster for convolutions")
    grad_clip: float | None = Field(gt=0.0, le=1e6, description="largest gradient norm; null for none")
    ema_decay: float | None = Field(
        gt=0.0, lt=1.0, description="moving average of the weights, per step; null for none"
    )
    augment: AugmentParams
    final_weights: Literal["best", "last"] = Field(description="which epoch's weights become the model")
    patience: int | None = Field(
        ge=1,
        le=100_000,
        description="epochs without a better validation result before stopping; null for never",
    )
    frozen: list[Name] = Field(
        max_length=1000,
        description='modules that keep their weights and statistics, for example ["stem", "stages.0"]',
    )
    head_first_epochs: int = Field(
        ge=0,
        le=100_000,
        description="epochs at first in which the last linear layer alone learns, until it fits the trained "
        "weights that the rest starts from (statistics of norms follow the data); the rest then begins the "
        "schedule anew",
    )
    distil: DistilParams | None = Field(
        description="learn from the dense model too (finetune); null for none"
    )
    sparsity: SparsityParams | None = Field(
        description="make whole channels fade, before pruning; null for none"
    )
    quantization_aware: QuantizationAwareParams | None = Field(
        description="train with the rounding of static int8 per channel (finetune), which quantize then does "
        "with the learned ranges; null for floats"
    )
    seed: int = Field(
        ge=0, lt=2**31, description="initial weights, order and augmentation of samples, dropout"
    )

    @property
    def most_workers(self) -> int:
        """That a batch can be cut for."""
        return LOGICAL_SHARDS if self.exact_elastic else self.global_batch_size // self.accumulate

    @model_validator(mode="after")
    def _accumulate_fits(self) -> "FitParams":
        if self.exact_elastic and self.accumulate > 1:
            raise ValueError(
                f"accumulate is {self.accumulate}, but exact_elastic cuts batches into parts itself; set it "
                "to 1"
            )
        if self.accumulate > self.global_batch_size:
            raise ValueError(
                f"accumulate ({self.accumulate}) is larger than global_batch_size "
                f"({self.global_batch_size}); lower it"
            )
        return self

    @model_validator(mode="after")
    def _rest_learns_too(self) -> "FitParams":
        if self.head_first_epochs >= self.epochs:
            raise ValueError(
                f"head_first_epochs is {self.head_first_epochs} of {self.epochs} epochs, which leaves the "
                "rest of the network as it was; lower it, or name the rest in frozen"
            )
        return self

    @model_validator(mode="after")
    def _penalty_counts(self) -> "FitParams":
        if self.sparsity and self.optimizer.name == "muon":
            raise ValueError(
                "sparsity is set, but muon levels out what a penalty adds to gradients; take sgd or adamw"
            )
        return self

    @model_validator(mode="after")
    def _rounded_weights_are_kept(self) -> "FitParams":
        late = self.quantization_aware is not None and self.quantization_aware.start > 0.0
        if late and (self.final_weights == "best" or self.patience is not None):
            raise ValueError(
                "quantization_aware.start is above 0, and an epoch before it may be the best; set "
                "final_weights to last and patience to null, or start to 0"
            )
        return self
