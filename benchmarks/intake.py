"""Seconds and memory of the stage `prepare` against a plain loop of Pillow over the same files.

Both are started as processes, as many decode at once, and they take turns.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image

from benchmarks.records import Benchmark, Case, Figure
from pipeline.base.files import sha256_tree

POLL_S = 0.02
GROUP_ROWS = 500
MIB = 1 << 20


class Images(NamedTuple):
    """What is measured on. size: of the images that come out, in pixels; files have `height` x `width`."""

    rows: int
    size: int
    height: int
    width: int
    kind: str


CASES = {
    "small": Images(60_000, 32, 32, 32, "PNG"),
    "photographs": Images(3_000, 224, 375, 500, "JPEG"),
    "twice as many": Images(6_000, 224, 375, 500, "JPEG"),
}


class Taken(NamedTuple):
    seconds: float
    peak_mib: float


class Round(NamedTuple):
    """What was taken by the whole stage, by its decoding alone, and by the plain loop."""

    prepare: Taken
    decode: Taken
    plain: Taken


def measure(arguments: argparse.Namespace) -> Iterator[Case]:
    """A case for each kind of image and number of processes."""
    for name in arguments.models or CASES:
        images = CASES[name]
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            write_source(folder, images)
            digests = set()
            for processes in [count for count in arguments.workers if count <= 2]:
                rounds = [a_round(folder, images.size, processes) for _ in range(arguments.rounds)]
                digests.add(sha256_tree(folder / "out"))
                yield {"images": f"{name}: {images.rows:,}", "processes": processes} | figures(
                    images.rows, rounds, same=len(digests) == 1
                )


COLUMNS = ("images", "processes", "a images/s", "d images/s", "b images/s", "a / b", "d / b", "a peak MiB")
BENCHMARK = Benchmark(measure, (*COLUMNS, "same bytes"), ("pillow", "pyarrow", "numpy"))


def a_round(folder: Path, size: int, processes: int) -> Round:
    shutil.rmtree(folder / "out", ignore_errors=True)
    return Round(
        prepare=run([once_command("prepare", folder, processes)]),
        decode=run([once_command("decode", folder, processes)]),
        plain=run(plain_commands(folder, size, processes)),
    )


def figures(rows: int, rounds: Sequence[Round], *, same: bool) -> dict[str, str | int | Figure]:
    return {
        "a images/s": Figure([rows / each.prepare.seconds for each in rounds], 0),
        "d images/s": Figure([rows / each.decode.seconds for each in rounds], 0),
        "b images/s": Figure([rows / each.plain.seconds for each in rounds], 0),
        "a / b": Figure([each.plain.seconds / each.prepare.seconds for each in rounds], 2),
        "d / b": Figure([each.plain.seconds / each.decode.seconds for each in rounds], 2),
        "a peak MiB": Figure([each.prepare.peak_mib for each in rounds], 0),
        "same bytes": "yes" if same else "no",
    }


def write_source(folder: Path, images: Images) -> None:
    """A table of smooth random pictures with some noise, of two classes, and the params of its intake."""
    schema = pa.schema({"image": pa.binary(), "label": pa.int64()})
    generator = np.random.default_rng(0)
    with pq.ParquetWriter(folder / "source.parquet", schema) as writer:
        for first in range(0, images.rows, GROUP_ROWS):
            files = [picture(generator, images) for _ in range(GROUP_ROWS)]
            labels = [row % 2 for row in range(first, first + GROUP_ROWS)]
            writer.write_table(pa.table({"image": files, "label": labels}, schema))
    (folder / "params.yaml").write_text(yaml.safe_dump(params_of(images)))


def picture(generator: np.random.Generator, images: Images) -> bytes:
    coarse = generator.integers(0, 256, (6, 8, 3), np.uint8)
    smooth = Image.fromarray(coarse).resize((images.width, images.height), Image.Resampling.BICUBIC)
    noise = generator.integers(0, 12, (images.height, images.width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(np.asarray(smooth) // 2 + noise + 60).save(file, images.kind)
    return file.getvalue()


def params_of(images: Images) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(Path("presets/cifar10.yaml").read_text())["data"]
    return values | {
        "height": images.size,
        "width": images.size,
        "split": values["split"] | {"val_fraction": 0.1, "test_fraction": 0.1},
    }


def once_command(what: str, folder: Path, processes: int) -> list[str]:
    return ["benchmarks.prepare_once", what, str(folder), str(processes)]


def plain_commands(folder: Path, size: int, processes: int) -> list[list[str]]:
    source = str(folder / "source.parquet")
    return [
        ["benchmarks.plain_intake", source, str(first), str(processes), str(size)]
        for first in range(processes)
    ]


def run(commands: Sequence[Sequence[str]]) -> Taken:
    """Run modules side by side, which print their seconds; the slowest counts.

    peak_mib: of memory that they and their children held at once.
    """
    peak = 0
    started = [
        subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True)
        for command in commands
    ]
    while any(process.poll() is None for process in started):
        peak = max(peak, sum(held(process.pid) for process in started))
        time.sleep(POLL_S)
    assert not any(process.returncode for process in started), "each ends with status 0"
    return Taken(max(float(process.communicate()[0]) for process in started), peak / MIB)


def held(pid: int) -> int:
    """Resident bytes of a process and its children, without files that are mapped."""
    total = 0
    try:
        whole = psutil.Process(pid)
        for process in [whole, *whole.children(recursive=True)]:
            memory = process.memory_info()
            total += memory.rss - memory.shared
    except psutil.NoSuchProcess:
        pass
    return total
