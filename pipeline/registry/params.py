"""The `register` section of params.yaml: what a model must reach, and when it becomes the champion."""

from typing import Literal

from pydantic import Field

from pipeline.params import Section


class RegisterParams(Section):
    model_name: str = Field(
        max_length=200,
        pattern=r"^[A-Za-z0-9_.-]+$",
        description="registered model in MLflow; every variant is a version of it",
    )
    candidate: Literal["finetuned", "quantized"] = Field(
        description="variant that is judged and may become the champion"
    )
    min_top1: float = Field(
        ge=0, le=1, description="lowest top-1 accuracy of the candidate, fraction of the test images"
    )
    max_drop: float = Field(
        ge=0, le=1, description="largest top-1 loss of the candidate against dense, fraction"
    )
    max_class_drop: float = Field(
        ge=0,
        le=1,
        description="largest recall that the class with the greatest loss may lose against dense, fraction",
    )
    min_same_answers: float = Field(
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
    max_logit_diff: float = Field(
        gt=0, le=1e6, description="largest difference of a logit between a float ONNX export and its network"
    )
    min_agreement: float = Field(
        ge=0, le=1, description="smallest fraction of images for which an ONNX file and its parent agree"
    )
    champion_min_gain: float = Field(
        ge=0, le=1, description="top-1 gain, fraction, that makes a new champion; below, speed decides"
    )
    champion_min_speedup: float = Field(
        ge=1, le=1000, description="ratio of latencies, champion / candidate, that counts as faster"
    )
