"""A driver that makes happen what the metrics count, and stays: a task that fails, an actor that dies, a spill, a training.

It ends when it is told to; its address and token come from the environment.
"""

import logging
import os
import signal
import sys
import tempfile
import time

import numpy as np
import ray
from ray.train import RunConfig
from ray.train.v2.api.config import ScalingConfig
from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

DONE = "all has happened"
TRAINING_S = 6.0
"""A value of a training is shown once per report interval: too short a run would show none."""
OBJECT_BYTES = 20_000_000
"""Seven of them are more than the object store of infra/local_cluster.py."""


@ray.remote(max_retries=0, num_cpus=0)
def fails() -> None:
    raise ValueError("on purpose")


@ray.remote(num_cpus=0)
class Dies:
    def die(self) -> None:
        os._exit(1)


def main() -> None:
    ray.init(address=os.environ["RAY_ADDRESS"], log_to_driver=False, logging_level=logging.ERROR)
    ray.wait([fails.remote(), Dies.remote().die.remote()], num_returns=2)  # type: ignore[attr-defined]
    held = [ray.put(np.zeros(OBJECT_BYTES, dtype=np.uint8)) for _ in range(7)]
    with tempfile.TemporaryDirectory() as folder:
        DataParallelTrainer(
            lambda: time.sleep(TRAINING_S),
            scaling_config=ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
            run_config=RunConfig(name="train", storage_path=folder),
        ).fit()
    sys.stdout.write(f"{DONE}, holding {len(held)} objects\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
