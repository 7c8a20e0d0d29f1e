"""The `register` section of params.yaml: what a model must reach, and when it becomes the champion."""

from typing import ClassVar, Literal

from pydantic import Field

from pipeline.base.params import Section


class RegisterParams(Section):
    renamed: ClassVar[dict[str, str]] = {
        "min_top1": "min_score",
        "max_class_drop": "max_group_drop",
        "min_same_answers": "min_agreement_with_dense",
        "max_logit_diff": "max_export_diff",
        "min_agreement": "min_export_agreement",
    }

    model_name: str = Field(
        max_length=200,
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="registered model in MLflow; every variant is a version of it",
    )
    candidate: Literal["finetuned", "quantized"] = Field(
        description="variant that is judged and may become the champion"
    )
    min_score: float = Field(
        ge=0,
        le=1,
        description="lowest mean score of the candidate on the test images; for classification top-1",
    )
    max_drop: float = Field(
        ge=0, le=1, description="largest loss of the candidate's score against dense, fraction"
    )
    max_group_drop: float = Field(
        ge=0,
        le=1,
        description="largest score that the group (for classification a class) with the greatest loss may "
        "lose against dense, fraction",
    )
    min_agreement_with_dense: float = Field(
        ge=0, le=1, description="smallest fraction of test images that dense answers the same"
    )
    speed_batch: int = Field(
        ge=1,
        le=65_536,
        description="batch size of min_speedup and of the champion's speed, an evaluate.latency.batches",
    )
    min_speedup: float = Field(
        gt=0, le=1000, description="smallest ratio of median latencies at speed_batch, dense / candidate"
    )
    min_parent_speedup: float = Field(
        gt=0,
        le=1000,
        description="smallest ratio of latencies at speed_batch, parent / candidate; fails if its whole 95 % "
        "interval is below",
    )
    max_export_diff: float = Field(
        gt=0,
        le=1e6,
        description="largest difference of an output between a float ONNX export and its network",
    )
    min_export_agreement: float = Field(
        ge=0, le=1, description="smallest fraction of images for which an ONNX file and its parent agree"
    )
    champion_min_gain: float = Field(
        ge=0, le=1, description="gain of score, fraction, that makes a new champion; below, speed decides"
    )
    champion_min_speedup: float = Field(
        ge=1, le=1000, description="ratio of latencies, champion / candidate, that counts as faster"
    )
