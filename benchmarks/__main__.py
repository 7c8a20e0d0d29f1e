"""Images/s of the training loop against a plain PyTorch loop, in turns in one process, one worker.

The plain loop is what a careful person writes by hand: bf16 autocast, channels_last, whole-batch
augmentation by indexing, fused lookups of a tensor in memory; no checkpoint, journal, resumption or
validation. The ratio is what those cost.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.data.params import DataParams
from pipeline.data.prepare import prepare
from pipeline.data.reader import Split
from pipeline.evaluate.latency import device_name
from pipeline.models.build import rebuild
from pipeline.models.params import ModelParams
from pipeline.params import read_yaml
from pipeline.report import read_journal
from pipeline.tasks.params import TaskParams
from pipeline.train.job import Job, dense_spec
from pipeline.train.loop import fit
from pipeline.train.params import FitParams

ROWS = 6000
PADDING = 4


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        job = make_job(Path(name), ModelParams(name=arguments.model, width=arguments.width, dropout=0.0), arguments.batch)
        ours, plain = [], []
        for number in range(arguments.rounds + 1):
            pair = pipeline_speed(job, arguments.threads, number), plain_speed(job, arguments.batch)
            if number:  # the first round warms caches and kernels up
                ours.append(pair[0])
                plain.append(pair[1])
    ratios = [a / b for a, b in zip(ours, plain, strict=True)]
    print(f"{arguments.model} width {arguments.width}, batch {arguments.batch}, bf16, 32x32x3, {arguments.threads} threads")
    print(f"{device_name()}, torch {torch.__version__}, n = {arguments.rounds}, median (lowest to highest)")
    for label, values in (("pipeline images/s", ours), ("plain images/s", plain), ("pipeline / plain", ratios)):
        print(f"  {label:<18} {statistics.median(values):>9,.2f}  ({min(values):,.2f} to {max(values):,.2f})")


def make_job(folder: Path, model: ModelParams, batch: int) -> Job:
    """One epoch of the preset `cifar10` on noise."""
    generator = np.random.default_rng(0)
    images = [row.tobytes() for row in generator.integers(0, 256, (ROWS, 32 * 32 * 3), dtype=np.uint8)]
    pq.write_table(pa.table({"image": images, "label": generator.integers(0, 10, ROWS)}), folder / "noise.parquet")
    preset = read_yaml(Path("presets/cifar10.yaml"))
    params = DataParams.model_validate({**preset["data"], "raw_shape": [32, 32, 3]})
    prepare(params, folder / "noise.parquet", folder / "prepared", folder / "card")
    return Job(
        spec=dense_spec(model, folder / "prepared"),
        initial=None,
        teacher=None,
        params=FitParams.model_validate({**preset["train"], "epochs": 1, "global_batch_size": batch, "ema_decay": None}),
        task=TaskParams.model_validate(preset["task"]),
        data=folder / "prepared",
        run_dir=folder,
        journal=folder / "journal.jsonl",
        checkpoint_s=30.0,
    )


def pipeline_speed(job: Job, threads: int, number: int) -> float:
    """Images/s of the steps of `fit`, as it reports them itself."""
    fresh = job.model_copy(
        update={"run_dir": job.run_dir / f"run-{number}", "journal": job.run_dir / f"journal-{number}.jsonl"}
    )
    fit(fresh, "cpu", threads)
    return next(
        float(event["values"]["images_per_s"]) for event in read_journal(fresh.journal) if "images_per_s" in event["values"]
    )


def plain_speed(job: Job, batch: int) -> float:
    """Images/s of one epoch written by hand."""
    train = Split.open(job.data, "train")
    images_NCHW, labels_N = train.images(torch.arange(len(train))), train.labels
    model = rebuild(job.spec).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4, foreach=True)
    start = time.perf_counter()
    order = torch.randperm(len(train))
    for rows in order.split(batch):  # type: ignore[no-untyped-call]
        batch_BCHW = _augmented(images_NCHW[rows]).float().sub_(127.5).div_(64.0)
        with torch.autocast("cpu", torch.bfloat16):
            logits_BK = model(batch_BCHW.contiguous(memory_format=torch.channels_last))
        F.cross_entropy(logits_BK.float(), labels_N[rows]).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)
    return len(train) / (time.perf_counter() - start)


def _augmented(images_BCHW: Tensor) -> Tensor:
    size = len(images_BCHW)
    padded = F.pad(images_BCHW, (PADDING,) * 4).permute(0, 2, 3, 1)
    dy, dx = torch.randint(0, 2 * PADDING + 1, (2, size, 1))
    columns = torch.arange(32) + dx
    columns = torch.where(torch.rand(size, 1) < 0.5, columns.flip(1), columns)
    rows = torch.arange(32) + dy
    return padded[torch.arange(size)[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


if __name__ == "__main__":
    main()
