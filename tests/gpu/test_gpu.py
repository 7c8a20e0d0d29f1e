"""What only a CUDA device can show: `make gpu`."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.data.prepared.reader import ResidentSplit, Split
from pipeline.train.loop import stays
from pipeline.train.run import open_run, prepare_torch
from tests.e2e.project import fresh_project
from tests.stages.test_exactness import SHORT, every_step, jobs_of, prepared_for_jobs
from tests.unit.fit_samples import CONVOLUTIONS, job

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
ON_GPU: dict[str, Any] = {"resources": {"workers": 1, "threads_per_worker": 1, "device": "cuda"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_for_jobs(tmp_path_factory.mktemp("gpu"), "cuda")


def test_it_resumes_at_every_step(folder: Path) -> None:
    half = job(folder / "prepared", folder, model=CONVOLUTIONS, checkpoint_s=0.0, amp="fp16", **SHORT)
    every_step(folder, {**jobs_of(folder), "fp16": half}, "cuda")


def test_a_small_split_is_kept_on_the_device_with_the_same_pixels(folder: Path) -> None:
    the_job = job(folder / "prepared", folder / "resident", model=CONVOLUTIONS, **SHORT)
    prepare_torch(the_job, "cuda", 1)
    run, rows = open_run(the_job, "cuda", stays), torch.tensor([3, 0, 700])
    assert isinstance(run.train, ResidentSplit)
    on_device = run.train.images(rows)
    assert on_device.is_cuda
    assert torch.equal(on_device.cpu(), Split.open(folder / "prepared", "train").images(rows))


def test_the_whole_line_runs_twice_to_the_same_weights(tmp_path: Path) -> None:
    """Under Ray, whose worker gets the device."""
    digests = []
    for name in ("first", "second"):
        with fresh_project(tmp_path / name) as project:
            project.change_params(ON_GPU)
            project.run("dvc", "repro").expect_success()
            digests.append(project.digests("artifacts"))
    assert digests[0] == digests[1]
