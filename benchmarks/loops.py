"""Training loops written by hand, to measure the pipeline's against. Letters: B batch, C channels, H height,
W width.

PlainLoop is the best that is known for these CPUs: bf16 autocast, channels_last, augmentation of whole
batches by indexing a tensor in memory, fused updates, gradient bucket views; no checkpoint, journal,
resumption or validation. typical_speed is what tutorials show: DataLoader workers, torchvision transforms of
single images, fp32.
"""

import time
from collections.abc import Iterator
from itertools import islice

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, DistributedSampler
from torchvision import transforms

from pipeline.data.prepared.reader import Split
from pipeline.models.nets.build import rebuild
from pipeline.train.job import Job

PADDING = 4
LOADERS = 2
"""DataLoader processes of each rank."""
PEAK_RUNS = 10
"""Convolutions in a window."""


class PlainLoop:
    """Training of a job's network on its data without end, a step at a time, on every rank."""

    def __init__(self, job: Job, batch: int) -> None:
        train = Split.open(job.inputs.data, "train")
        self._images_NCHW, self._labels_N = train.images(torch.arange(len(train))), train.targets["label"]
        self._net = _distributed(rebuild(job.problem.spec).to(memory_format=torch.channels_last))
        self.num_parameters = sum(parameter.numel() for parameter in self._net.parameters())
        parameters = self._net.parameters()
        self._optimizer = torch.optim.SGD(
            parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, fused=True
        )
        batches = -(-len(train) // batch)
        self.images_per_step = len(train) / batches
        self._batches = self._endless(batches)

    def step(self) -> None:
        mine = next(self._batches)
        batch_BCHW = _augmented(self._images_NCHW[mine]).float().sub_(127.5).div_(64.0)
        with torch.autocast("cpu", torch.bfloat16):
            logits_BK = self._net(batch_BCHW.contiguous(memory_format=torch.channels_last))
        F.cross_entropy(logits_BK.float(), self._labels_N[mine]).backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=False)

    def _endless(self, batches: int) -> Iterator[Tensor]:
        """This rank's rows of every batch."""
        generator = torch.Generator().manual_seed(0)
        while True:
            for rows in torch.randperm(len(self._labels_N), generator=generator).tensor_split(batches):
                yield rows.tensor_split(dist.get_world_size())[dist.get_rank()]


def typical_speed(job: Job, batch: int, steps: int) -> float:
    """Images/s of some steps over all ranks, the start of the loader processes left out."""
    ranks = dist.get_world_size()
    images = Images(Split.open(job.inputs.data, "train"))
    sampler: DistributedSampler[tuple[Tensor, int]] = DistributedSampler(images, seed=0)
    loader = DataLoader(images, batch // ranks, sampler=sampler, num_workers=LOADERS, drop_last=True)
    net = _distributed(rebuild(job.problem.spec))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    num_images, start = 0, 0.0
    for number, (images_BCHW, labels_B) in enumerate(islice(loader, steps + 1)):
        optimizer.zero_grad()
        F.cross_entropy(net(images_BCHW), labels_B).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if number == 0:
            start = time.perf_counter()
        else:
            num_images += len(labels_B) * ranks
    dist.barrier()
    return num_images / (time.perf_counter() - start)


class Images(Dataset[tuple[Tensor, int]]):
    """Single images through torchvision's transforms of PIL images."""

    def __init__(self, split: Split) -> None:
        self._split = split
        self._change = transforms.Compose(
            [
                transforms.ToPILImage(),
                transforms.RandomCrop(32, PADDING),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5,) * 3, (0.25,) * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self._split)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        image: Tensor = self._change(self._split.images(torch.tensor([row]))[0])
        return image, int(self._split.targets["label"][row])


def peak_flops(windows: int = 8) -> float:
    """FLOP/s of this rank in bf16 3x3 convolutions of 128 channels, the fastest work that a training step
    has.

    The best of some windows: what slows one down is not the machine's limit.
    """
    images = torch.randn(128, 128, 16, 16, dtype=torch.bfloat16).contiguous(memory_format=torch.channels_last)
    conv = nn.Conv2d(128, 128, 3, padding=1, bias=False, dtype=torch.bfloat16).to(
        memory_format=torch.channels_last
    )
    flops = 2 * images[:, 0].numel() * conv.weight.numel() * PEAK_RUNS
    seconds = []
    with torch.no_grad():
        for _ in range(windows + 1):
            start = time.perf_counter()
            for _ in range(PEAK_RUNS):
                conv(images)
            seconds.append(time.perf_counter() - start)
    return flops / min(seconds)


def _distributed(model: nn.Module) -> nn.Module:
    return (
        DistributedDataParallel(model, gradient_as_bucket_view=True) if dist.get_world_size() > 1 else model
    )


def _augmented(images_BCHW: Tensor) -> Tensor:
    size = len(images_BCHW)
    padded = F.pad(images_BCHW, (PADDING,) * 4).permute(0, 2, 3, 1)
    dy, dx = torch.randint(0, 2 * PADDING + 1, (2, size, 1))
    columns = torch.arange(32) + dx
    columns = torch.where(torch.rand(size, 1) < 0.5, columns.flip(1), columns)
    rows = torch.arange(32) + dy
    return padded[torch.arange(size)[:, None, None], rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )
