"""The loop itself, in one process on a tiny problem: it learns, stops, and resumes without a trace."""

import csv
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from pipeline.base.files import sha256_file
from pipeline.data.prepared.batch import Tensors
from pipeline.data.prepared.reader import Split, normalise
from pipeline.errors import TrainingError
from pipeline.models.disk.artifact import read_spec
from pipeline.models.disk.weights import load_model, save_model
from pipeline.tasks.description.classification import ClassificationNotes
from pipeline.tasks.training.classification import Classification
from pipeline.tracking.journal import read_journal
from pipeline.train.bf16_rate import bf16_to_float32, slow_bf16
from pipeline.train.checkpoints.local import LocalStore
from pipeline.train.checkpoints.saver import Saver
from pipeline.train.job import Job, child_spec
from pipeline.train.loop import (
    ddp_step,
    exact_step,
    fit,
    make_batch,
    mean_scale,
    never_leaving,
    resume,
)
from pipeline.train.run import Run, check_origin, open_run, origin
from pipeline.train.sampling import num_batches
from pipeline.train.transport.collect import collect_result
from pipeline.train.validate import validate
from tests.support.fit_samples import BASE, CONVOLUTIONS, MLP, changed_job, job, prepared_digits

DIGITS = ClassificationNotes(classes=[*map(str, range(10))])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_digits(tmp_path_factory.mktemp("data"))


def run(the_job: Job, out: Path, threads: int = 1) -> str:
    """Fit and save; the digest of the weights."""
    fit(the_job, "cpu", threads)
    collect_result(the_job, out, out.parent / f"{out.name}.csv")
    return sha256_file(out / "weights.safetensors")


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the loop may catch it."""


def test_it_learns_and_leaves_a_model_with_its_history(data: Path, tmp_path: Path) -> None:
    the_job = job(data, tmp_path / "run", epochs=6)
    run(the_job, tmp_path / "model")
    rows = list(csv.DictReader((tmp_path / "model.csv").read_text().splitlines()))
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert float(rows[-1]["val/top1"]) > 0.85
    assert float(rows[-1]["train/loss"]) < float(rows[0]["train/loss"])
    assert read_spec(tmp_path / "model").provenance["placement"] == "1 workers x 1 threads on cpu"


SLOW = (
    "bf16 has 0.5 of the speed of float32 on this CPU (convolutions): amp: off trains faster, to other "
    "weights"
)


@pytest.mark.parametrize(("rate", "warning"), [(0.5, SLOW), (0.95, ""), (2.0, "")])
def test_it_says_where_bf16_is_slower_than_float32(rate: float, warning: str) -> None:
    assert slow_bf16("bf16", "cpu", lambda: rate) == warning
    assert slow_bf16("off", "cpu", lambda: rate) == slow_bf16("bf16", "cuda", lambda: rate) == ""


def test_a_run_says_how_fast_bf16_is_here(data: Path, tmp_path: Path) -> None:
    fit(job(data, tmp_path / "run", amp="bf16", epochs=1), "cpu", 1)
    note = json.loads((tmp_path / "run" / "progress.json").read_text())["note"]
    is_slow = bf16_to_float32() <= 0.6  # far enough from the limit for two measurements to agree
    assert re.fullmatch(r"bf16 has 0\.\d+ of the speed .*" if is_slow else r"(bf16 has 0\.\d+ .*)?", note)


def test_the_rate_of_bf16_is_measured_without_a_trace_in_the_training() -> None:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    assert bf16_to_float32() > 0.0
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def killed_in(the_job: Job, epoch: int) -> None:
    """Run until the validation of an epoch, and die there: its steps are done and its checkpoint is not."""

    def die(run: Run) -> dict[str, float]:
        if run.state.progress.epoch == epoch:
            raise Killed
        return validate(run)

    with pytest.raises(Killed):
        fit(the_job, "cpu", 1, validate=die)
    torch.manual_seed(99)  # a new process starts from another random state


def test_killed_in_every_epoch_it_ends_in_the_same_bits(data: Path, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"amp": "bf16", "ema_decay": 0.9, "final_weights": "best"}
    expected = run(job(data, tmp_path / "undisturbed", **changes), tmp_path / "a")
    disturbed = job(data, tmp_path / "disturbed", **changes)
    for epoch in (1, 2, 3):
        killed_in(disturbed, epoch)
    assert run(disturbed, tmp_path / "b") == expected
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    steps = [event["step"] for event in read_journal(disturbed.site.journal) if "val/top1" in event["values"]]
    assert len(steps) == 3
    assert steps == sorted(set(steps)), "each step is in the journal once"


def test_told_to_go_it_leaves_at_once_and_loses_no_step(data: Path, tmp_path: Path) -> None:
    """Also with checkpoints that are far apart, in the middle of an epoch, and again and again."""
    expected = run(job(data, tmp_path / "undisturbed"), tmp_path / "a")
    the_job = job(data, tmp_path / "run", checkpoint_s=1000.0)
    steps: list[int] = []
    attempts: list[Run] = []

    def noted(run: Run) -> None:
        if all(run is not other for other in attempts):
            attempts.append(run)
            run.saver = Saver(run.store, the_job.site.checkpoint_s, run.device, agree_every_s=0.0)
            run.saver.start(run.state.progress.step)
        steps.append(run.state.progress.step)

    while not fit(the_job, "cpu", 1, leaving=lambda: len(steps) % 17 == 12, at_step=noted):
        torch.manual_seed(99)
    assert len(attempts) > 2
    assert steps == list(range(len(steps))), "a step was made twice"
    assert run(the_job, tmp_path / "b") == expected


def test_told_to_go_it_leaves_also_where_an_epoch_is_one_batch(data: Path, tmp_path: Path) -> None:
    batch = len(Split.open(data, "train"))
    expected = run(job(data, tmp_path / "undisturbed", global_batch_size=batch), tmp_path / "a")
    the_job = job(data, tmp_path / "run", global_batch_size=batch, checkpoint_s=0.0)
    assert not fit(the_job, "cpu", 1, leaving=lambda: True)
    found = LocalStore(the_job.site.run_dir / "checkpoints").newest()
    assert found is not None
    assert found[1]["progress"]["epoch"] == 1
    assert run(the_job, tmp_path / "b") == expected


def test_a_damaged_newest_checkpoint_costs_an_epoch_not_the_result(data: Path, tmp_path: Path) -> None:
    expected = run(job(data, tmp_path / "undisturbed"), tmp_path / "a")
    the_job = job(data, tmp_path / "run")
    fit(the_job, "cpu", 1)
    newest = max((tmp_path / "run" / "checkpoints").iterdir()) / "state.safetensors"
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 4
    newest.write_bytes(content)
    assert run(the_job, tmp_path / "b") == expected


@pytest.mark.parametrize("library", [torch, np])
def test_checkpoints_of_other_inputs_or_another_library_are_refused(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: ModuleType
) -> None:
    fit(job(data, tmp_path / "run", epochs=1), "cpu", 1)
    with pytest.raises(
        TrainingError, match=r"run/checkpoints were made from other inputs; remove .*run/checkpoints to train"
    ):
        fit(job(data, tmp_path / "run", epochs=1, seed=1), "cpu", 1)
    with pytest.raises(TrainingError, match="were made from other inputs"):
        check_origin(
            {}, origin(job(data, tmp_path / "run").problem), tmp_path
        )  # of a version that noted no origin
    made_with = f"{library.__name__} {library.__version__}"
    monkeypatch.setattr(library, "__version__", "2.0.0")
    with pytest.raises(
        TrainingError, match=rf"made with {re.escape(made_with)}, and this is 2\.0\.0; install that"
    ):
        fit(job(data, tmp_path / "run", epochs=1), "cpu", 1)


def test_a_checkpoint_is_bound_to_the_library_of_its_network(data: Path, tmp_path: Path) -> None:
    of_timm = MLP.model_copy(update={"name": "timm/resnet18", "width": None})
    own, other = (origin(job(data, tmp_path, model=model).problem).keys() for model in (MLP, of_timm))
    assert other - own == {"timm"}


def test_frozen_modules_keep_weights_and_statistics(data: Path, tmp_path: Path) -> None:
    run(job(data, tmp_path / "first", model=CONVOLUTIONS, epochs=1), tmp_path / "a")
    further = job(
        data, tmp_path / "second", model=CONVOLUTIONS, epochs=1, frozen=["stages.0", "stages.1.0.norm"]
    )
    run(changed_job(further, initial=tmp_path / "a"), tmp_path / "b")
    before, after = (load_model(tmp_path / name)[1].state_dict() for name in ("a", "b"))
    changed = {name for name, tensor in before.items() if not tensor.equal(after[name])}
    kept = {name for name in before if name.startswith(("stages.0.", "stages.1.0.norm."))}
    assert changed == set(before) - kept


@pytest.mark.parametrize(
    ("frozen", "says"),
    [
        (["stages.9"], r"frozen: the network has no module 'stages\.9'; did you mean 'stages\.\d'"),
        (["stages", "head"], "frozen: stages, head leave nothing to train"),
    ],
)
def test_what_cannot_be_frozen_is_refused(data: Path, tmp_path: Path, frozen: list[str], says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        fit(job(data, tmp_path / "run", model=CONVOLUTIONS, frozen=frozen), "cpu", 1)


def test_threads_and_seed_are_what_the_bits_hang_on(data: Path, tmp_path: Path) -> None:
    """And the threads are those asked for, whatever the process had before."""
    short: dict[str, Any] = {"model": CONVOLUTIONS, "epochs": 1, "global_batch_size": 720}
    first = run(job(data, tmp_path / "1", **short), tmp_path / "a")
    assert first != run(job(data, tmp_path / "2", **short), tmp_path / "b", threads=2)
    assert first == run(job(data, tmp_path / "3", **short), tmp_path / "c")
    assert first != run(job(data, tmp_path / "4", **short, seed=1), tmp_path / "d")


@pytest.mark.parametrize(
    ("exact", "placement", "says"),
    [
        (False, "2 workers x 1 threads on cpu", "are from here on those of the new placement"),
        (True, "2 workers x 1 threads on cpu", "by exact_elastic stay the same"),
        (True, "1 workers x 2 threads on cpu", "are from here on those of the new placement"),
    ],
)
def test_a_run_that_goes_on_elsewhere_says_so(
    data: Path, tmp_path: Path, exact: bool, placement: str, says: str
) -> None:
    the_job = job(data, tmp_path / "run", checkpoint_s=0.0, exact_elastic=exact)
    assert not fit(the_job, "cpu", 1, leaving=lambda: True)
    before = "1 workers x 1 threads on cpu"
    for here, note in (
        (before, ""),
        (placement, f"goes on from step 1 with {placement}, after {before}; the weights' last bits {says}"),
    ):
        run = open_run(the_job, "cpu", never_leaving)
        resume(run, here)
        assert run.note == note
        assert run.state.progress.placements == [before] + [here] * (here != before)


@pytest.mark.parametrize(("keep", "kept"), [("best", 2), ("last", 4)])
def test_best_weights_are_kept_when_later_ones_are_worse(
    data: Path, tmp_path: Path, keep: str, kept: int
) -> None:
    """Of the second of four epochs, after a validation that says so."""
    weights: dict[int, dict[str, torch.Tensor]] = {}

    def told(run: Run) -> dict[str, float]:
        epoch = run.state.progress.epoch
        weights[epoch] = {name: tensor.clone() for name, tensor in run.state.deployed.state_dict().items()}
        return {"score": {1: 0.5, 2: 0.9, 3: 0.7, 4: 0.9}[epoch], "loss": float(epoch)}

    the_job = job(data, tmp_path / "run", final_weights=keep, epochs=4)
    fit(the_job, "cpu", 1, validate=told)
    collect_result(the_job, tmp_path / "model", tmp_path / "model.csv")
    result = load_model(tmp_path / "model")[1].state_dict()
    equal = [
        epoch
        for epoch, found in weights.items()
        if all(found[name].equal(tensor) for name, tensor in result.items())
    ]
    assert equal == [kept]


def decoders() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_threads_that_decode_end_with_a_run_that_is_interrupted(tmp_path: Path) -> None:
    encoded = prepared_digits(tmp_path, store={"kind": "encoded", "shorter_side": 8, "quality": 90})
    crop = {"resized_crop": {"scale": [0.5, 1.0], "ratio": [0.75, 1.5]}}
    the_job = job(encoded, tmp_path / "run", augment=BASE["augment"] | crop, epochs=1)
    seen: list[list[str]] = []

    def interrupted(run: Run) -> None:
        seen.append(decoders())
        if run.state.progress.step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(the_job, "cpu", 2, at_step=interrupted)
    assert seen[-1]
    assert not decoders()
    fit(the_job, "cpu", 2)
    assert not decoders()


def test_the_head_learns_before_the_rest_of_trained_weights(data: Path, tmp_path: Path) -> None:
    """Of a network with batch norm, whose statistics follow the data all the while."""
    run(job(data, tmp_path / "first", model=CONVOLUTIONS, epochs=1), tmp_path / "start")
    before = load_model(tmp_path / "start")[1].state_dict()
    changes: dict[str, Any] = {"epochs": 3, "head_first_epochs": 2, "final_weights": "last"}
    the_job = job(data, tmp_path / "run", model=CONVOLUTIONS, **changes)
    the_job = changed_job(
        the_job, initial=tmp_path / "start", spec=child_spec(read_spec(tmp_path / "start"), "dense")
    )
    moved: list[set[str]] = []

    def noted(run: Run) -> dict[str, float]:
        now = run.state.model.state_dict()
        parameters = [name for name, _ in run.state.model.named_parameters()]
        moved.append({name for name in parameters if not now[name].equal(before[name])})
        return validate(run)

    fit(the_job, "cpu", 1, validate=noted)
    assert moved[0] == moved[1] == {"head.weight", "head.bias"}
    assert moved[2] == {name for name, _ in load_model(tmp_path / "start")[1].named_parameters()}


def test_a_head_is_not_fitted_to_random_weights(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"head_first_epochs is 1, but the network starts from random"):
        fit(job(data, tmp_path / "run", head_first_epochs=1), "cpu", 1)


def test_patience_ends_a_run_that_stands_still(data: Path, tmp_path: Path) -> None:
    still: dict[str, Any] = {
        "optimizer": {
            "name": "sgd",
            "lr": 1e-12,
            "momentum": 0.0,
            "weight_decay": 0.0,
            "lr_factors": {},
            "layer_decay": None,
        }
    }
    the_job = job(data, tmp_path / "run", epochs=50, patience=2, **still)
    fit(the_job, "cpu", 1)
    found = LocalStore(tmp_path / "run" / "checkpoints").newest()
    assert found is not None
    assert found[1]["progress"]["epoch"] < 10


def test_a_diverging_loss_names_the_step_and_keeps_the_weights_before(data: Path, tmp_path: Path) -> None:
    # An MLP's loss overflows to infinity within an epoch at this rate; its first epoch is spent warming up.
    changes: dict[str, Any] = {
        "optimizer": {
            "name": "sgd",
            "lr": 10.0,
            "momentum": 0.99,
            "weight_decay": 1.0,
            "lr_factors": {},
            "layer_decay": None,
        },
        "epochs": 40,
        "schedule": {"name": "cosine", "warmup": 0.9, "final": 0.0},
    }
    spec = job(data, tmp_path / "run", **changes)
    with pytest.raises(
        TrainingError, match=r"the loss is not finite at step \d+ \(epoch \d+\).*Lower optimizer.lr"
    ):
        fit(spec, "cpu", 1)
    found = LocalStore(tmp_path / "run" / "checkpoints").newest()
    assert found is not None
    assert all(np.isfinite(tensor.numpy()).all() for tensor in found[0].values())
    with pytest.raises(TrainingError, match="no finished run"):
        collect_result(spec, tmp_path / "model", tmp_path / "model.csv")


def overflowing(step: int) -> Callable[[Run], None]:
    """The update of a step whose loss is finite makes a weight NaN."""

    def at_step(run: Run) -> None:
        def poison(*_: object) -> None:
            next(run.state.model.parameters()).data.view(-1)[0] = torch.nan

        if run.state.progress.step == step:
            run.state.optimizer.register_step_post_hook(poison)

    return at_step


@pytest.mark.parametrize("step", [0, 5])
def test_no_checkpoint_holds_weights_that_are_not_finite(data: Path, tmp_path: Path, step: int) -> None:
    with pytest.raises(
        TrainingError, match=rf"the state .* is not finite at step {step + 1} \(epoch 1\); the weights before"
    ):
        fit(job(data, tmp_path / "run", checkpoint_s=0.0), "cpu", 1, at_step=overflowing(step))
    found = LocalStore(tmp_path / "run" / "checkpoints").newest()
    assert (found[1]["progress"]["step"] if found else 0) == step


def test_a_run_that_diverges_in_the_last_update_of_an_epoch_is_told_like_any_other(
    data: Path, tmp_path: Path
) -> None:
    """Only validation sees it."""
    the_job = job(data, tmp_path / "run")
    steps = num_batches(len(Split.open(data, "train")), the_job.problem.params.global_batch_size)
    with pytest.raises(
        TrainingError, match=rf"val/loss is not finite at step {2 * steps} \(epoch 2\).*Lower optimizer.lr"
    ):
        fit(the_job, "cpu", 1, at_step=overflowing(2 * steps - 1))
    assert [
        event["step"] for event in read_journal(the_job.site.journal) if "val/loss" in event["values"]
    ] == [steps]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"amp": "fp16"}, "amp is fp16, which needs a CUDA device"),
        ({"global_batch_size": 5000}, "global_batch_size is 5000, but the training split has"),
        (
            {"distil": {"teacher": "dense", "temperature": 2.0, "weight": 0.5, "features": None}},
            "no model to distil from",
        ),
    ],
)
def test_what_cannot_work_is_said_before_the_first_batch(
    data: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        fit(job(data, tmp_path / "run", **changes), "cpu", 1)
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_finetuning_starts_from_the_given_weights(data: Path, tmp_path: Path) -> None:
    run(job(data, tmp_path / "dense", epochs=5), tmp_path / "teacher")
    tuned = changed_job(
        job(
            data,
            tmp_path / "tuned",
            epochs=1,
            distil={"teacher": "dense", "temperature": 2.0, "weight": 0.5, "features": None},
            optimizer={**BASE["optimizer"], "lr": 1e-3},
        ),
        initial=tmp_path / "teacher",
        teacher=tmp_path / "teacher",
        spec=child_spec(read_spec(tmp_path / "teacher"), "dense"),
    )
    run(tuned, tmp_path / "model")
    last = float(list(csv.DictReader((tmp_path / "teacher.csv").read_text().splitlines()))[-1]["val/top1"])
    assert (
        abs(float(next(csv.DictReader((tmp_path / "model.csv").read_text().splitlines()))["val/top1"]) - last)
        < 0.1
    )
    assert read_spec(tmp_path / "model").ancestors["dense"] == read_spec(tmp_path / "teacher").digest


def test_finetuning_learns_from_the_teacher(data: Path, tmp_path: Path) -> None:
    """Whose head takes each class for the next: who learned from the labels at all would be right by them."""
    run(job(data, tmp_path / "dense", epochs=5), tmp_path / "right")
    spec, model = load_model(tmp_path / "right")
    for name in ("head.weight", "head.bias"):
        parameter = model.get_parameter(name)
        parameter.data = parameter.data.roll(1, dims=0)
    save_model(tmp_path / "teacher", spec, model)
    alone = {"teacher": "dense", "temperature": 2.0, "weight": 1.0, "features": None}
    tuned = changed_job(job(data, tmp_path / "tuned", epochs=5, distil=alone), teacher=tmp_path / "teacher")
    run(tuned, tmp_path / "model")
    last = list(csv.DictReader((tmp_path / "model.csv").read_text().splitlines()))[-1]
    assert float(last["val/top1"]) < 0.05
    val = Split.open(data, "val")
    batch = val.batch(torch.arange(len(val)), "cpu")
    images, labels = batch.inputs["pixels"], batch.targets["label"]
    student, mean, std = (
        load_model(tmp_path / "model")[1].eval(),
        torch.tensor(spec.preprocessing.mean),
        torch.tensor(spec.preprocessing.std),
    )
    with torch.no_grad():
        answers = student(normalise(images, mean, std)).argmax(dim=1)
    assert float((answers == (labels + 1) % 10).float().mean()) > 0.8


def test_weights_pruned_one_by_one_stay_zero_while_the_others_learn(data: Path, tmp_path: Path) -> None:
    """With the optimizer that orthogonalises its steps, which spread over all positions."""
    run(job(data, tmp_path / "dense", model=CONVOLUTIONS, epochs=1), tmp_path / "dense-model")
    spec, model = load_model(tmp_path / "dense-model")
    name = "stages.1.0.conv.weight"
    weight = model.get_parameter(name)
    weight.data.flatten()[::3] = 0.0
    before, pruned = weight.detach().clone(), weight.detach() == 0
    save_model(tmp_path / "sparse", spec.model_copy(update={"sparse": [name]}), model)
    changes: dict[str, Any] = {
        "epochs": 1,
        "ema_decay": 0.9,
        "optimizer": {**BASE["optimizer"], "name": "muon", "lr": 0.01},
    }
    spec = child_spec(read_spec(tmp_path / "sparse"), "pruned")
    tuned = changed_job(job(data, tmp_path / "tuned", **changes), initial=tmp_path / "sparse", spec=spec)
    run(tuned, tmp_path / "model")
    after = load_model(tmp_path / "model")[1].get_parameter(name)
    assert not after[pruned].any()
    assert (after != before)[~pruned].all()


@dataclass(frozen=True)
class Weighed(Classification):
    """Samples of class k count k + 1 times."""

    def weights(self, targets: Tensors) -> Tensor:  # type: ignore[override]
        return targets["label"] + 1.0


def test_a_loss_is_divided_by_the_summed_weight_of_the_global_batch(data: Path, tmp_path: Path) -> None:
    run = open_run(job(data, tmp_path / "run"), "cpu", never_leaving)
    batch = make_batch(run, torch.arange(40))
    parts = {number: batch.part(positions) for number, positions in enumerate(torch.arange(40).chunk(5))}
    assert mean_scale(run, parts, len(parts), batch.size, factor=2) == 2 / 40
    weighed = replace(run, task=Weighed(DIGITS, 0.1))
    scale = mean_scale(weighed, parts, len(parts), batch.size, factor=2)
    assert float(scale) == pytest.approx(2 / float((batch.targets["label"] + 1).sum()))


@pytest.mark.parametrize("exact", [False, True])
def test_both_kinds_of_step_divide_by_the_weight(data: Path, tmp_path: Path, *, exact: bool) -> None:
    settings = {"exact_elastic": exact, "optimizer": BASE["optimizer"] | {"weight_decay": 0.0}}
    changes = []
    for task in (Classification(DIGITS, 0.1), Weighed(DIGITS, 0.1)):
        torch.manual_seed(0)  # the same network both times
        run = open_run(job(data, tmp_path / "run", **settings), "cpu", never_leaving)
        run = replace(run, task=task, recipe=run.recipe._replace(task=task))
        before = [parameter.detach().clone() for parameter in run.state.model.parameters()]
        rows = torch.arange(64)
        exact_step(run, run.shards, rows) if run.shards else ddp_step(run, rows)
        after = run.state.model.parameters()
        changes.append([float((new.detach() - old).norm()) for new, old in zip(after, before, strict=True)])
    weight = float((Split.open(data, "train").targets["label"][:64] + 1).sum()) / 64
    assert changes[0] == pytest.approx([weight * change for change in changes[1]], rel=1e-3)
