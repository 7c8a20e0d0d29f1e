"""What all unit tests have, and a disk that is full."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """For torch: on tiny tensors more threads only wait for each other (61 s against 4.5 s)."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 KiB of which 4 KiB are free: an empty file and a short one still find room."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may mount a small disk")
    try:
        (disk / "full").write_bytes(bytes(508 << 10))
        (disk / "short").write_bytes(b"x")
        (disk / "short").unlink()
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
