"""The `task` section of params.yaml."""

from typing import Literal

from pydantic import Field

from pipeline.params import Section

LOGITS = "logits"
"""Output of a classifier: a logit for each class, (B, K)."""


class TaskParams(Section):
    name: Literal["classification"] = Field(description="kind of problem")
    label_smoothing: float = Field(
        ge=0.0, lt=1.0, description="probability mass spread evenly over all classes (Szegedy et al. 2016)"
    )
    class_weights: Literal["none", "balanced"] = Field(
        description="balanced: in training an image's loss counts in inverse proportion to how frequent its "
        "class is"
    )
