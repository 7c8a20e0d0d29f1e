"""An intake that is killed at any time: whole pieces are not done again, and the outs are the same bytes."""

import random
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil

from benchmarks.intake import Images, once_command, write_source
from pipeline.base.files import sha256_tree
from pipeline.data.intake.decoding.piece_file import is_whole
from tests.support.project import until

KILLS = 3
IMAGES = Images(rows=6_000, size=64, height=120, width=160, kind="JPEG")
ROW_BYTES = 64 * 64 * 3


def whole_pieces(work: Path) -> dict[int, int]:
    """When each piece that is whole was written."""
    numbers = [int(path.stem) for path in work.glob("*.rows")]
    return {
        number: (work / f"{number:06d}.rows").stat().st_mtime_ns
        for number in numbers
        if is_whole(work, number, ROW_BYTES)
    }


def has_more_than(work: Path, pieces: int) -> bool:
    return len(list(work.glob("*.rows"))) > pieces


def start(folder: Path, processes: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", *once_command("prepare", folder, processes)])


def test_whole_pieces_outlive_kills(tmp_path: Path) -> None:
    write_source(tmp_path, IMAGES)
    assert start(tmp_path, 1).wait() == 0
    undisturbed = sha256_tree(tmp_path / "out")
    generator, before = random.Random(0), dict[int, int]()
    for kill in range(KILLS):
        killed = start(tmp_path, 2)
        until(partial(has_more_than, tmp_path / "work", len(before)), "a piece", 60.0)
        time.sleep(generator.random() / 5)
        children = psutil.Process(killed.pid).children()
        killed.kill()
        killed.wait()
        psutil.wait_procs(children, timeout=5)
        assert not any(child.is_running() for child in children), "decoders end with who started them"
        after = whole_pieces(tmp_path / "work")
        assert {number: after[number] for number in before} == before, f"kill {kill}: pieces were done again"
        before = after
    assert start(tmp_path, 2).wait() == 0
    assert sha256_tree(tmp_path / "out") == undisturbed
    assert not (tmp_path / "work").exists()
