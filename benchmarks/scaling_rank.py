"""One rank of `python -m benchmarks scaling`, on a host of its own; rank 0 prints what it
measured, as JSON.
"""

import json
import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from benchmarks.loops import PlainLoop
from benchmarks.training import in_turns, make_job
from pipeline.train.job import Inputs

PORT = 29500
RUN_DIR = Path("/tmp/run")  # noqa: S108 - of the host alone
REDUCTIONS = 10


def main(rank: int, world: int, address: str, data: str, few: str, model: str, batch: int) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "eth0"
    dist.init_process_group("gloo", init_method=f"tcp://{address}:{PORT}", rank=rank, world_size=world)
    torch.set_num_threads(1)
    RUN_DIR.mkdir()
    job = make_job(Path(data), model, batch)
    job = job.model_copy(update={"site": job.site.at(RUN_DIR)})
    plain = PlainLoop(job, batch)
    in_turns(job.model_copy(update={"inputs": Inputs(data=Path(few))}), plain, 1, "warm")
    images_per_s, to_plain = in_turns(job, plain, 1, "measured")
    reduce_s = reduction_s(plain.num_parameters)
    if rank == 0:
        print(json.dumps({"images_per_s": images_per_s, "to_plain": to_plain, "reduce_s": reduce_s}))
    dist.destroy_process_group()


def reduction_s(numbers: int) -> float:
    """Of an all-reduce of as many fp32 numbers, with nothing beside it."""
    gradients = torch.zeros(numbers)
    dist.all_reduce(gradients)
    start = time.perf_counter()
    for _ in range(REDUCTIONS):
        dist.all_reduce(gradients)
    return (time.perf_counter() - start) / REDUCTIONS


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
