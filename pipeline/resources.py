"""The `resources` section of params.yaml: where and on how much to run, never what to compute.

No stage declares it as a dependency, so moving to another machine reruns nothing. The world size and
the number of threads that were used are recorded in the model's provenance.
"""

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline.params import Section


class Resources(Section):
    workers: int = Field(ge=1, description="training processes (ranks)")
    min_workers: int | None = Field(
        ge=1, description="fewest workers to go on with after a node is lost; null: wait until all have a place again"
    )
    threads_per_worker: int = Field(ge=1, description="CPU threads of each training process, also the CPUs asked of Ray")
    device: Literal["auto", "cpu", "cuda"] = Field(
        description="where to train; auto takes CUDA where each worker can have a GPU"
    )
    address: str | None = Field(description="Ray cluster (host:port); null starts a local one; RAY_ADDRESS overrides it")
    max_failures: int = Field(ge=0, description="restarts of the workers before training gives up")
    checkpoint_s: float = Field(ge=0.0, description="seconds between two checkpoints within an epoch; 0: one at every step")
    show_ray_logs: bool = Field(description="show Ray's own log lines")

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.min_workers is not None and self.min_workers > self.workers:
            raise ValueError(f"min_workers ({self.min_workers}) is larger than workers ({self.workers}); lower it")
        return self
