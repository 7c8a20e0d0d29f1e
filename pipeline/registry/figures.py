"""The figures of each variant as `evaluate` and `compare` wrote them."""

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from pipeline.base.records import read_json
from pipeline.compare.records import LOSS_NAME, STEPS, Latency, Loss, Quality


class Figures(BaseModel):
    """One variant's quality, its latency on a named device, and what it lost: None for dense."""

    model_config = ConfigDict(frozen=True)

    quality: Quality
    latency: Latency
    loss: Loss | None


def read_figures(variant: str, place: Callable[[str], Path]) -> Figures:
    """place: from a path below the project's root to the path itself.

    Raises ArtifactError that names the file and the key.
    """
    return Figures(
        quality=read_json(place(f"reports/{variant}/metrics.json"), Quality),
        latency=read_json(place(f"reports/{variant}/latency.json"), Latency),
        loss=read_json(place(f"reports/{variant}/lost") / LOSS_NAME, Loss) if variant in STEPS else None,
    )
