"""Random crops from encoded rows against the bare limit: as many threads that only decode and cut, of the
same files and boxes, with nothing around them.

The two take turns, an epoch each, in one process. Beside them a training says how much of it is waiting.
"""

import argparse
import io
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor

from benchmarks.records import Benchmark, Case, Figure
from pipeline.base.yaml_file import read_yaml
from pipeline.data.augmentation.params import ResizedCropParams
from pipeline.data.augmentation.reading import MakingReader, TrainReader
from pipeline.data.augmentation.resized_crop import draw_crops
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.prepare import prepare
from pipeline.data.prepared.batch import Batch
from pipeline.data.prepared.reader import Split
from pipeline.data.prepared.shards import map_shards
from pipeline.images.crop import CropDraw
from pipeline.models.description.params import ModelParams
from pipeline.tasks.description.params import TaskParams
from pipeline.train.job import Job, Site, dense_job
from pipeline.train.loop import never_leaving, train_epoch
from pipeline.train.params import FitParams
from pipeline.train.run import open_run, prepare_torch
from pipeline.train.sampling import epoch_batches

SIDE = 224
PHOTO = (500, 375)
"""Width and height of a generated photograph, as of many in the data sets of this field."""
PHOTOS = 320
BATCH = 64
EPOCHS = 6
"""Epochs that make a round."""
TRAIN_BATCH = 16
WANTED_PER_S = 3_000
"""Images that a fast GPU trains on in a second, for which the cores are told."""
CROP = ResizedCropParams(scale=[0.08, 1.0], ratio=[0.75, 1.3333])
SETTINGS = {
    "height": SIDE,
    "width": SIDE,
    "resize": {"rule": "fit", "filter": "bilinear"},
    "store": {"kind": "encoded", "shorter_side": 256, "quality": 90},
}


def measure(arguments: argparse.Namespace) -> Iterator[Case]:
    """One case: as many threads as the machine has CPUs."""
    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name:
        data = make_photos(Path(name))
        split, files = Split.open(data, "train"), train_files(data)
        in_turns(split, files, threads)  # warms caches up
        rounds = [in_turns(split, files, threads) for _ in range(arguments.rounds)]
        waits = [wait_share(data, Path(name) / str(number), threads) for number in range(arguments.rounds)]
    yield {
        "threads": threads,
        "crops/s": Figure([ours for ours, _ in rounds], 0),
        "a/b": Figure([ours / bare for ours, bare in rounds]),
        "wait": Figure(waits, 4),
        f"cores for {WANTED_PER_S:,}/s": Figure([WANTED_PER_S * threads / ours for ours, _ in rounds], 1),
    }


COLUMNS = ("threads", "crops/s", "a/b", "wait", f"cores for {WANTED_PER_S:,}/s")
BENCHMARK = Benchmark(measure, COLUMNS, ("torch", "pillow"))


def make_photos(folder: Path) -> Path:
    """Prepared pictures with detail at several scales, encoded as photographs are."""
    images = [jpeg(number) for number in range(PHOTOS)]
    labels = [number % 10 for number in range(PHOTOS)]
    pq.write_table(pa.table({"image": images, "label": labels}), folder / "photos.parquet")
    values = read_yaml(Path("presets/cifar10.yaml"))["data"] | SETTINGS
    prepare(
        DataParams.model_validate(values), folder / "photos.parquet", folder / "prepared", folder / "card"
    )
    return folder / "prepared"


def jpeg(seed: int) -> bytes:
    generator, (width, height) = np.random.default_rng(seed), PHOTO
    layers = [
        np.asarray(Image.fromarray(generator.integers(0, 256, (side, side, 3), np.uint8)).resize(PHOTO))
        for side in (4, 16, 64, 256)
    ]
    picture = np.average(layers, axis=0, weights=[6, 4, 2, 1]).reshape(height, width, 3).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=90)
    return file.getvalue()


def train_files(data: Path) -> list[bytes]:
    """The encoded images of the training split, by row."""
    return [shard.file(row) for shard in map_shards(data, "train")["pixels"] for row in range(len(shard))]


def in_turns(split: Split, files: Sequence[bytes], threads: int) -> tuple[float, float]:
    """Images/s of the pipeline's reader and of the bare limit, an epoch of the one after one of the other."""
    reader = MakingReader(split, CROP, seed=0, threads=threads)
    ours = bare = 0.0
    with ThreadPoolExecutor(threads) as pool:
        for epoch in range(EPOCHS):
            batches = epoch_batches(len(split), BATCH, seed=0, epoch=epoch)
            start = time.perf_counter()
            reader.expect(batches, epoch)
            for rows in batches:
                reader.batch(rows, epoch, "cpu")
            middle = time.perf_counter()
            rows = torch.cat(batches)
            draws = draw_crops(rows, CROP, 0, epoch)
            begin = time.perf_counter()
            list(pool.map(decode_and_cut, (files[row] for row in rows.tolist()), draws))
            ours, bare = ours + middle - start, bare + time.perf_counter() - begin
    reader.close()
    return EPOCHS * len(split) / ours, EPOCHS * len(split) / bare


def decode_and_cut(file: bytes, draw: CropDraw) -> Image.Image:
    """What nobody can leave out."""
    with Image.open(io.BytesIO(file)) as image:
        return image.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=draw.box(*image.size))


@dataclass
class TimedReader:
    """A reader that adds up how long it was waited for."""

    reader: TrainReader
    waited_s: float = 0.0

    def __len__(self) -> int:
        return len(self.reader)

    def expect(self, rows: Iterable[Tensor], epoch: int) -> None:
        self.reader.expect(rows, epoch)

    def batch(self, rows: Tensor, epoch: int, device: torch.device | str) -> Batch:
        start = time.perf_counter()
        batch = self.reader.batch(rows, epoch, device)
        self.waited_s += time.perf_counter() - start
        return batch

    def close(self) -> None:
        self.reader.close()


def wait_share(data: Path, folder: Path, threads: int) -> float:
    """Share of an epoch of ResNet-18 that goes into waiting for its images, the first batch's too."""
    job = make_job(data, folder)
    prepare_torch(job, "cpu", threads)
    run = open_run(job, "cpu", never_leaving)
    reader = TimedReader(run.augmentation.reader)
    run.augmentation = replace(run.augmentation, reader=reader)
    run.saver.start(0)
    start = time.perf_counter()
    train_epoch(run)
    share = reader.waited_s / (time.perf_counter() - start)
    reader.close()
    run.saver.finish()
    return share


def make_job(data: Path, folder: Path) -> Job:
    """One epoch of the preset `cifar10`, of a network that begins as those for photographs do."""
    preset = read_yaml(Path("presets/cifar10.yaml"))
    network = ModelParams(
        name="torchvision/resnet18", width=None, dropout=0.0, stochastic_depth=0.0, init="random"
    )
    augment = preset["train"]["augment"] | {"resized_crop": CROP.model_dump(), "crop_padding": 0}
    changes = {"epochs": 1, "global_batch_size": TRAIN_BATCH, "ema_decay": None, "augment": augment}
    params = FitParams.model_validate({**preset["train"], **changes})
    site = Site(run_dir=folder, journal=folder / "journal.jsonl", checkpoint_s=1e6)
    return dense_job(network, params, TaskParams.model_validate(preset["task"]), data, None, site)
