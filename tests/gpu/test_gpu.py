"""What only a CUDA device can show: `make gpu`."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.data.augmentation.reading import StoredReader
from pipeline.data.prepared.reader import ResidentSplit, Split
from pipeline.train.loop import ddp_step, never_leaving
from pipeline.train.run import open_run, prepare_torch
from pipeline.train.sampling import epoch_batches
from tests.stages.test_exactness import SHORT, crossed, every_step, jobs_of, prepared_for_jobs
from tests.support.fit_samples import BASE, CONVOLUTIONS, changed_job, job
from tests.support.project import fresh_project
from tests.support.tasks import classification

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
STEPS: dict[str, Any] = {
    "amp": "fp16",
    "accumulate": 2,
    "grad_clip": 1.0,
    "augment": {**BASE["augment"], "trivial": True, "flip": "random", "crop_padding": 1, "cutmix": 1.0},
}
"""All that a step may bring to the device."""
WEIGHED = classification(label_smoothing=0.1, class_weights="balanced")
ON_GPU: dict[str, Any] = {"resources": {"workers": 1, "threads_per_worker": 1, "device": "cuda"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_for_jobs(tmp_path_factory.mktemp("gpu"), "cuda")


def test_it_resumes_at_every_step(folder: Path) -> None:
    half = job(folder / "prepared", folder, model=CONVOLUTIONS, checkpoint_s=0.0, amp="fp16", **SHORT)
    every_step(folder, {**jobs_of(folder), **crossed(folder, ["fp16"]), "fp16": half}, "cuda")


@pytest.mark.parametrize("kept", [ResidentSplit, Split])
def test_batches_of_a_split_kept_on_the_device_or_sent_are_the_hosts_and_no_step_waits(
    folder: Path, kept: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever makes the host wait for the device, a copy from memory that is not pinned for one, is an error
    here.
    """
    monkeypatch.setattr("pipeline.train.run.RESIDENT_SHARE", 0.25 if kept is ResidentSplit else 0.0)
    the_job = job(folder / "prepared", folder / kept.__name__, model=CONVOLUTIONS, **STEPS)
    the_job = changed_job(the_job, task=WEIGHED)
    prepare_torch(the_job, "cuda", 1)
    run = open_run(the_job, "cuda", never_leaving)
    reader = run.augmentation.reader
    assert isinstance(reader, StoredReader)
    assert type(reader.split) is kept
    batches = epoch_batches(len(run.train), the_job.problem.params.global_batch_size, 0, epoch=0)
    on_host = Split.open(folder / "prepared", "train")
    for rows in batches:
        here, there = reader.batch(rows, 0, "cuda"), on_host.batch(rows, "cpu")
        for name, tensor in (here.inputs | here.targets).items():  # type: ignore[operator]
            assert tensor.is_cuda
            assert tensor.cpu().equal((there.inputs | there.targets)[name])  # type: ignore[operator]
    ddp_step(run, batches[0])  # after which all libraries are ready
    torch.cuda.set_sync_debug_mode("error")
    try:
        for rows in batches[1:]:
            run.state.add_loss(ddp_step(run, rows))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.isfinite(run.state.loss_sum)


def test_the_whole_line_runs_twice_to_the_same_weights(tmp_path: Path) -> None:
    """Under Ray, whose worker gets the device."""
    digests = []
    for name in ("first", "second"):
        with fresh_project(tmp_path / name) as project:
            project.change_params(ON_GPU)
            project.run("dvc", "repro").expect_success()
            digests.append(project.digests("artifacts"))
    assert digests[0] == digests[1]
