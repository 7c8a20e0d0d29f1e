"""Killed at any step, or run by another number of workers, a run ends in the same bits."""

import csv
import json
import shutil
from collections.abc import Iterable
from contextlib import nullcontext
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import safetensors.torch
import torch
from torch.nn.parallel import DistributedDataParallel

from benchmarks.ranks import on_ranks
from pipeline.base.files import sha256_file, sha256_tree
from pipeline.errors import StorageError
from pipeline.models.description.params import ModelParams
from pipeline.models.disk.artifact import read_spec
from pipeline.models.disk.weights import load_model, save_model
from pipeline.tracking.journal import read_journal
from pipeline.train import ranks
from pipeline.train.checkpoints.local import LocalStore
from pipeline.train.job import Job, child_spec
from pipeline.train.loop import fit
from pipeline.train.params import Device
from pipeline.train.run import Run
from tests.support.fit_samples import BASE, CONVOLUTIONS, changed_job, job, prepared_digits

BATCH = 720
"""Two steps an epoch."""
SHORT: dict[str, Any] = {"epochs": 2, "global_batch_size": BATCH}
CONFIGS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "bf16_ema_best": {
        "amp": "bf16",
        "ema_decay": 0.9,
        "final_weights": "best",
        "sparsity": {"penalty": "bn_l1", "weight": 1e-3},
    },
    "adamw_accumulate_clip": {
        "optimizer": {
            "name": "adamw",
            "lr": 0.01,
            "momentum": 0.9,
            "weight_decay": 0.05,
            "lr_factors": {},
            "layer_decay": None,
        },
        "accumulate": 2,
        "grad_clip": 1.0,
        "sparsity": {"penalty": "group_lasso", "weight": 1e-4},
    },
    "exact_elastic_muon_cutmix": {
        "exact_elastic": True,
        "sampling": "balanced",
        "optimizer": {
            "name": "muon",
            "lr": 0.05,
            "momentum": 0.6,
            "weight_decay": 0.05,
            "lr_factors": {"head.*": 0.5},
            "layer_decay": 0.8,
        },
        "ema_decay": 0.9,
        "augment": {
            "resized_crop": {"scale": [0.3, 1.0], "ratio": [0.75, 1.5]},
            "color_jitter": {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.1},
            "trivial": True,
            "flip": "alternating",
            "crop_padding": 0,
            "crop_fill": "mirror",
            "cutout": 0,
            "erase": 0.0,
            "mixup": 0.0,
            "cutmix": 1.0,
        },
    },
}
ENCODED = "exact_elastic_muon_cutmix"
"""The configuration whose images are decoded and cut out at random by threads, ahead of their use."""
STORE = {"kind": "encoded", "shorter_side": 8, "quality": 90}
CONVOLUTION_DIMS = 4
FEATURES = {"kind": "features", "weight": 0.1, "layers": {"stages.0": "stages.1"}}
"""Through an adapter of 4 to 8 channels."""
DISTIL: dict[str, Any] = {
    "distil": {"teacher": "dense", "temperature": 2.0, "weight": 0.5, "features": FEATURES},
    "amp": "bf16",
}
TUNED = DISTIL | {
    "quantization_aware": {"start": 0.5, "reduce_range": False},
    "head_first_epochs": 1,
    "optimizer": BASE["optimizer"] | {"layer_decay": 0.7},
}


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the loop may catch it."""


def killed(the_job: Job, step: int, device: Device = "cpu") -> None:
    """Train, and die before a step, as all ranks do."""

    def die(run: Run) -> None:
        if run.state.progress.step == step:
            raise Killed

    with pytest.raises(Killed):
        fit(the_job, device, 1, at_step=die)


def final_state(the_job: Job) -> dict[str, Any]:
    """All of the last checkpoint, the result, and what was reported, as comparable values."""
    found = LocalStore(the_job.site.run_dir / "checkpoints").newest()
    assert found is not None
    steps = [(event["step"], event["values"].get("val/loss")) for event in read_journal(the_job.site.journal)]
    return {
        "tensors": safetensors.torch.save(found[0]),
        "values": found[1],
        "result": sha256_tree(the_job.site.run_dir / "result"),
        "validated": [point for point in steps if point[1] is not None],
    }


def every_step(
    folder: Path, jobs: dict[str, Job], device: Device = "cpu", num_steps: int | None = None
) -> None:
    """Each job undisturbed, and again for each of its steps (or the first ones), killed before that step."""
    for name, template in jobs.items():

        def at(place: str, name: str = name, template: Job = template) -> Job:
            run_dir = folder / f"{name}-{ranks.world_size()}-{place}"
            return template.model_copy(update={"site": template.site.at(run_dir)})

        fit(at("undisturbed"), device, 1)
        ranks.barrier()  # rank 0 may still write
        steps = int(final_state(at("undisturbed"))["values"]["progress"]["step"])
        assert steps > 2
        for step in range(num_steps or steps):
            killed(at(str(step)), step, device)
            torch.manual_seed(99 + step)  # a new process starts from another random state
            fit(at(str(step)), device, 1)
            if ranks.rank() == 0:
                assert final_state(at(str(step))) == final_state(at("undisturbed")), (
                    f"{name}: killed before step {step}"
                )


def jobs_of(folder: Path) -> dict[str, Job]:
    """One job for each configuration, a finetune from the teacher without some weights, half of it with
    rounding, and what crossed() has.

    All checkpoint at every step.
    """
    data = folder / "prepared"

    def of(changes: dict[str, Any]) -> Job:
        return job(data, folder, model=CONVOLUTIONS, checkpoint_s=0.0, **SHORT, **changes)

    teacher = folder / "teacher"
    spec = child_spec(read_spec(folder / "sparse"), "dense")
    tuned = changed_job(of(TUNED), spec=spec, initial=folder / "sparse", teacher=teacher)
    jobs = {name: of(changes) for name, changes in CONFIGS.items()}
    jobs[ENCODED] = changed_job(jobs[ENCODED], data=folder / "encoded" / "prepared")
    return {**jobs, "finetune": tuned, **crossed(folder)}


def crossed(folder: Path, precisions: Iterable[str] = ("off", "bf16")) -> dict[str, Job]:
    """Precision x accumulation x stage, all of it, because it is cheap with a net that has dropout and
    nothing else.
    """
    jobs, small = {}, folder / "small"
    distil = {"teacher": "dense", "temperature": 2.0, "weight": 0.5, "features": None}
    tuned: dict[str, Any] = {
        "initial": small,
        "teacher": small,
        "spec": child_spec(read_spec(small), "dense"),
    }
    for amp, accumulate in product(precisions, (1, 2)):
        changes: dict[str, Any] = {"checkpoint_s": 0.0, "amp": amp, "accumulate": accumulate, **SHORT}
        jobs[f"train_{amp}_{accumulate}"] = job(folder / "prepared", folder, **changes)
        finetune = job(folder / "prepared", folder, distil=distil, **changes)
        jobs[f"finetune_{amp}_{accumulate}"] = changed_job(finetune, **tuned)
    return jobs


def prepared_for_jobs(folder: Path, device: Device) -> Path:
    """What jobs_of reads, on a GPU too: digits, the same encoded, a model trained on them as teacher, and the
    same without half of a layer.
    """
    prepared_digits(folder / "encoded", store=STORE)
    the_job = job(prepared_digits(folder), folder / "first", model=CONVOLUTIONS, **SHORT)
    fit(the_job, device, 1)
    fit(job(folder / "prepared", folder / "second", **SHORT), device, 1)
    shutil.copytree(folder / "second" / "result" / "model", folder / "small")
    shutil.copytree(folder / "first" / "result" / "model", folder / "teacher")
    spec, model = load_model(folder / "teacher")
    weight = next(name for name, parameter in model.named_parameters() if parameter.dim() == CONVOLUTION_DIMS)
    model.get_parameter(weight).data.flatten()[::2] = 0.0
    save_model(folder / "sparse", spec.model_copy(update={"sparse": [weight]}), model)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_for_jobs(tmp_path_factory.mktemp("exact"), "cpu")


def test_one_worker_resumes_at_every_step(folder: Path) -> None:
    every_step(folder, jobs_of(folder))


def test_three_workers_resume_at_every_step(folder: Path) -> None:
    """Among three, unlike two, the order in which gradients are added shows."""
    on_ranks(3, _every_step_among_three, folder, forked=True)


def _every_step_among_three(folder: Path) -> None:
    every_step(folder, {"bf16_ema_best": jobs_of(folder)["bf16_ema_best"], **crossed(folder)})
    # The twin that must fail: buckets that DDP lays out anew after the first step. Rank 0 alone compares.
    plain = partial(DistributedDataParallel, gradient_as_bucket_view=True)
    differs = (
        pytest.raises(AssertionError, match="killed before step 1") if ranks.rank() == 0 else nullcontext()
    )
    with patch("pipeline.train.run._distributed", lambda model, *_: plain(model)), differs:
        every_step(folder, {"new_buckets": jobs_of(folder)["fp32"]}, num_steps=2)
    # Ranks that find different checkpoints must not train past each other: rank 1 finds none.
    finds = patch.object(LocalStore, "newest", lambda _: None) if ranks.rank() == 1 else nullcontext()
    done = jobs_of(folder)["bf16_ema_best"]
    done = done.model_copy(update={"site": done.site.at(folder / "bf16_ema_best-3-undisturbed")})
    with finds, pytest.raises(StorageError, match="the workers found different checkpoints"):
        fit(done, "cpu", 1)


def test_without_the_state_of_the_optimizer_a_resumed_run_differs(folder: Path, tmp_path: Path) -> None:
    """The twin that must fail: what the matrix compares does hang on what is restored."""
    undisturbed = job(folder / "prepared", tmp_path / "a", checkpoint_s=0.0, **SHORT)
    fit(undisturbed, "cpu", 1)
    disturbed = job(folder / "prepared", tmp_path / "b", checkpoint_s=0.0, **SHORT)
    killed(disturbed, 3)
    with patch("pipeline.train.state.State._restore_optimizer", lambda *_: None):
        fit(disturbed, "cpu", 1)
    assert final_state(disturbed) != final_state(undisturbed)


@pytest.mark.parametrize("verifies", [True, False])
def test_a_flipped_bit_is_passed_over_and_shows_where_nothing_verifies(
    folder: Path, tmp_path: Path, verifies: bool
) -> None:
    """The twin with the protection taken out must fail: the flipped bit then gets into the weights."""
    undisturbed = job(folder / "prepared", tmp_path / "a", checkpoint_s=0.0, **SHORT)
    fit(undisturbed, "cpu", 1)
    disturbed = job(folder / "prepared", tmp_path / "b", checkpoint_s=0.0, **SHORT)
    killed(disturbed, 3)
    newest = max((disturbed.site.run_dir / "checkpoints").iterdir()) / "state.safetensors"
    content = bytearray(newest.read_bytes())
    content[-2] ^= 1  # in the last tensor's last number
    newest.write_bytes(content)
    with nullcontext() if verifies else patch("pipeline.train.checkpoints.local._verifies", lambda _: True):
        fit(disturbed, "cpu", 1)
    assert (final_state(disturbed) == final_state(undisturbed)) is verifies


def exact_job(folder: Path, world: int) -> Job:
    sparsity = {"penalty": "group_lasso", "weight": 1e-4}
    changes = {**SHORT, **DISTIL, "exact_elastic": True, "final_weights": "best", "sparsity": sparsity}
    changes["augment"] = CONFIGS[ENCODED]["augment"]
    data = folder / "encoded" / "prepared"
    the_job = job(data, folder / f"world-{world}", model=CONVOLUTIONS, **changes)
    return changed_job(the_job, teacher=folder / "teacher")


def weights_and_history(folder: Path, world: int) -> tuple[str, str]:
    result = folder / f"world-{world}" / "result"
    return sha256_file(result / "model" / "weights.safetensors"), (result / "history.csv").read_text()


@pytest.fixture(scope="module")
def exact(folder: Path) -> tuple[str, str]:
    """What one worker alone ends in."""
    fit(exact_job(folder, 1), "cpu", 1)
    return weights_and_history(folder, 1)


NO_STATISTICS = ModelParams(name="mlp", width=16, dropout=0.0, stochastic_depth=0.0, init="random")
"""Without batch norm, whose statistics are each worker's own, and dropout."""
PLAIN = (NO_STATISTICS, CONVOLUTIONS)


def plain_job(folder: Path, world: int, model: ModelParams) -> Job:
    return job(folder / "prepared", folder / f"plain-{model.name}-{world}", model=model, **SHORT)


def test_two_workers_resume_at_every_step_and_with_exact_elastic_give_the_weights_of_one(
    folder: Path, exact: tuple[str, str]
) -> None:
    """Without it their number shows in the bits, and where no worker has statistics of its own hardly in the
    loss: every image is seen once an epoch all the same, and what differs is the order in which gradients
    are added.
    """
    on_ranks(2, _two, folder, forked=True)
    assert weights_and_history(folder, 2) == exact
    for model in PLAIN:
        fit(plain_job(folder, 1, model), "cpu", 1)
    one, two = (
        plain_job(folder, world, CONVOLUTIONS).site.run_dir / "result/model/weights.safetensors"
        for world in (1, 2)
    )
    assert sha256_file(one) != sha256_file(two)
    one, two = (plain_job(folder, world, NO_STATISTICS).site.run_dir / "result" for world in (1, 2))
    assert last_loss(two) == pytest.approx(last_loss(one), rel=1e-4)


def _two(folder: Path) -> None:
    # What crossed() has is among three, where more shows.
    every_step(folder, {name: each for name, each in jobs_of(folder).items() if name not in crossed(folder)})
    fit(exact_job(folder, 2), "cpu", 1)
    for model in PLAIN:
        fit(plain_job(folder, 2, model), "cpu", 1)


def last_loss(result: Path) -> float:
    with (result / "history.csv").open() as file:
        return float(list(csv.DictReader(file))[-1]["train/loss"])


def test_four_workers_give_the_weights_of_one_and_one_goes_on_for_four(
    folder: Path, exact: tuple[str, str]
) -> None:
    """Four are killed in the fourth step; one goes on from the last checkpoint."""
    on_ranks(4, _four, folder, forked=True)
    assert weights_and_history(folder, 4) == exact
    lost = exact_job(folder, 0)
    fit(lost, "cpu", 1)
    assert weights_and_history(folder, 0) == exact
    note = json.loads((lost.site.run_dir / "progress.json").read_text())["note"]
    assert "with 1 workers x 1 threads on cpu, after 4 workers x 1 threads on cpu" in note
    assert "by exact_elastic stay the same" in note
    assert "4 workers x 1 threads on cpu, then 1 workers" in str(
        read_spec(lost.site.run_dir / "result/model").provenance["placement"]
    )


def _four(folder: Path) -> None:
    fit(exact_job(folder, 4), "cpu", 1)
    killed(changed_job(exact_job(folder, 0), checkpoint_s=0.0), 3)
