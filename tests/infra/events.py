"""A driver that makes happen what a good training does not, and stays: a task that fails, an actor that dies,
a spill.

It ends when it is told to; its address and token come from the environment.
"""

import logging
import os
import signal
import sys

import numpy as np
import ray

DONE = "all has happened"
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
    sys.stdout.write(f"{DONE}, holding {len(held)} objects\n")
    sys.stdout.flush()
    signal.pause()


if __name__ == "__main__":
    main()
