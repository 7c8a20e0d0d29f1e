"""What `python -m benchmarks start` measures against: plain processes that make one step of ResNet-20 on
noise.
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from benchmarks.ranks import on_ranks
from pipeline.models.description.spec import Architecture
from pipeline.models.nets.build import build


def first_step(mark: Path) -> None:
    """One step of ResNet-20 on noise; rank 0 leaves a mark."""
    torch.set_num_threads(1)
    sizes = {"num_outputs": 10, "channels": 3, "image_height": 32, "image_width": 32}
    model = build(Architecture(name="resnet20", width=16, dropout=0.0, stochastic_depth=0.0, **sizes)).to(
        memory_format=torch.channels_last
    )
    net = DistributedDataParallel(model) if dist.get_world_size() > 1 else model
    images = torch.randn(64 // dist.get_world_size(), 3, 32, 32).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(images)
    F.cross_entropy(logits.float(), torch.zeros(len(images), dtype=torch.long)).backward()  # type: ignore[no-untyped-call]
    torch.optim.SGD(net.parameters(), lr=0.1).step()
    if dist.get_rank() == 0:
        mark.touch()


if __name__ == "__main__":
    on_ranks(int(sys.argv[1]), first_step, Path(sys.argv[2]))
