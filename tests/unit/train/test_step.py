"""Schedules, order of samples, moving average, step and checkpoints, each against a plain reference."""

import itertools
import json
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.amp import GradScaler

from pipeline.data.augmentation.streams import stream_seed
from pipeline.errors import LockedError, TrainingError
from pipeline.files import locked
from pipeline.tasks.classification.task import Classification
from pipeline.tasks.params import TaskParams
from pipeline.tasks.task import make_task
from pipeline.train.checkpoints.local import LocalStore
from pipeline.train.job import run_directory
from pipeline.train.methods.distillation import Tapped
from pipeline.train.methods.exact_elastic import Shards
from pipeline.train.optim import Ema, lr_factor, make_optimizer
from pipeline.train.params import LOGICAL_SHARDS, DistilParams, OptimizerParams, ScheduleParams
from pipeline.train.sampling import check_batches, epoch_batches
from pipeline.train.state import State
from pipeline.train.step import Batch, Recipe, distil, train_step


def schedule(name: str, warmup: float = 0.25, final: float = 0.0) -> ScheduleParams:
    return ScheduleParams.model_validate({"name": name, "warmup": warmup, "final": final})


@pytest.mark.parametrize("name", ["cosine", "one_cycle"])
def test_schedule_rises_peaks_and_ends_at_final(name: str) -> None:
    factors = [lr_factor(step, 40, schedule(name, final=0.1)) for step in range(40)]
    assert factors[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert factors[10] == 1.0
    assert factors[-1] == pytest.approx(0.1)
    assert all(a >= b for a, b in itertools.pairwise(factors[10:]))


def test_cosine_is_half_way_down_in_the_middle() -> None:
    assert lr_factor(20, 41, schedule("cosine", warmup=0.0)) == pytest.approx(0.5)


def test_a_single_step_has_a_rate() -> None:
    assert lr_factor(0, 1, schedule("cosine", warmup=0.0)) == 1.0


def test_an_epoch_holds_every_row_once_in_even_batches() -> None:
    batches = epoch_batches(torch.zeros(1000), 128, seed=3, epoch=5)
    assert torch.cat(batches).sort().values.tolist() == list(range(1000))
    assert {len(batch) for batch in batches} == {125}
    assert len(batches) == 8


def test_balanced_epochs_show_every_class_as_often_and_its_images_by_turns() -> None:
    labels = torch.tensor([0] * 70 + [2] * 20 + [3] * 10)
    rows = torch.cat(epoch_batches(labels, 30, seed=3, epoch=5, sampling="balanced"))
    assert labels[rows].bincount().tolist() == [34, 0, 33, 33]
    times = rows.bincount(minlength=100)
    assert set(times[:70].tolist()) == {0, 1}
    assert set(times[70:90].tolist()) == {1, 2}
    assert set(times[90:].tolist()) == {3, 4}
    assert rows.equal(torch.cat(epoch_batches(labels, 30, seed=3, epoch=5, sampling="balanced")))


def test_class_weights_make_every_class_count_the_same() -> None:
    counts = torch.tensor([70, 20, 10, 0])
    task = make_task(TaskParams(name="classification", label_smoothing=0.1, class_weights="balanced"), counts)
    plain = make_task(TaskParams(name="classification", label_smoothing=0.1, class_weights="none"), counts)
    labels = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)
    logits = torch.zeros(100, 4)
    losses = task.loss(logits, labels)
    assert [losses[labels == label].sum().item() for label in range(3)] == pytest.approx(
        [losses.sum().item() / 3] * 3
    )
    assert losses.mean().item() == pytest.approx(plain.loss(logits, labels).mean().item())


def test_order_is_a_function_of_seed_and_epoch() -> None:
    first = torch.cat(epoch_batches(torch.zeros(100), 10, seed=1, epoch=0))
    assert torch.equal(first, torch.cat(epoch_batches(torch.zeros(100), 10, seed=1, epoch=0)))
    assert not torch.equal(first, torch.cat(epoch_batches(torch.zeros(100), 10, seed=1, epoch=1)))
    assert not torch.equal(first, torch.cat(epoch_batches(torch.zeros(100), 10, seed=2, epoch=0)))


def test_random_streams_are_the_same_on_every_machine() -> None:
    assert stream_seed("order", 0, 1) == 8556750900509299915
    assert len({stream_seed("a", 1), stream_seed("a", 2), stream_seed("b", 1), stream_seed("a", 1, 2)}) == 4


@pytest.mark.parametrize(
    ("num_images", "batch", "world", "message"),
    [
        (100, 128, 1, "global_batch_size is 128, but the training split has 100 images"),
        (100, 4, 8, "8 workers x 1 accumulated parts need at least 8"),
    ],
)
def test_a_world_or_batch_larger_than_the_data_is_refused(
    num_images: int, batch: int, world: int, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        check_batches(num_images, batch, world, accumulate=1)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


def test_norms_and_biases_do_not_decay() -> None:
    optimizer = make_optimizer(
        net(), OptimizerParams(name="sgd", lr=0.1, momentum=0.9, weight_decay=0.5, lr_factors={})
    )
    decay = {
        tuple(p.shape): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]
    }
    assert decay == {(8, 12): 0.5, (3, 8): 0.5, (8,): 0.0, (3,): 0.0}


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_restored_slots_lie_in_memory_as_their_parameters_do(name: str) -> None:
    """A fused optimizer goes through memory and looks at no strides."""

    def opened() -> State:
        model = nn.Sequential(nn.Conv2d(2, 3, 3)).to(memory_format=torch.channels_last)
        params = OptimizerParams.model_validate(
            {"name": name, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0, "lr_factors": {}}
        )
        return State(
            model, nn.ModuleList(), make_optimizer(model, params), GradScaler("cpu", enabled=False), None
        )

    before, after = opened(), opened()
    before.model(torch.randn(1, 2, 5, 5)).square().sum().backward()
    before.optimizer.step()
    tensors = {key: tensor.contiguous() for key, tensor in before.tensors(torch.zeros(1)).items()}
    after.restore(tensors, before.values())
    for parameter in after.model.parameters():
        slots = [slot for slot in after.optimizer.state[parameter].values() if slot.shape == parameter.shape]
        assert slots
        assert all(slot.stride() == parameter.stride() for slot in slots)


def test_gradients_of_shards_lie_in_memory_as_their_parameters_do() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 3)).to(memory_format=torch.channels_last)
    images = torch.randn(LOGICAL_SHARDS, 2, 5, 5)
    shards = Shards(model)
    shards.begin_step()
    for number, image in enumerate(images.chunk(LOGICAL_SHARDS)):
        shards.begin_shard()
        loss = model(image).square().sum()
        loss.backward()
        shards.end_shard(number, loss)
    shards.end_step()
    found = [parameter.grad for parameter in model.parameters()]
    model.zero_grad()
    model(images).square().sum().backward()
    for parameter, gradient in zip(model.parameters(), found, strict=True):
        assert gradient is not None
        assert gradient.stride() == parameter.stride()
        torch.testing.assert_close(gradient, parameter.grad)


def test_shards_count_a_step_once_where_it_is_counted_and_leave_other_numbers_alone() -> None:
    """As tables of positions, masks and what is frozen are."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.frozen = nn.BatchNorm1d(3), nn.BatchNorm1d(3)
            self.register_buffer("positions", torch.arange(4))
            self.register_buffer("mask", torch.tensor([True, False]))

        def forward(self, rows: Tensor) -> Tensor:
            found: Tensor = self.frozen(self.norm(rows))
            return found

    model = Net()
    model.frozen.eval()
    shards, before = Shards(model), {name: tensor.clone() for name, tensor in model.named_buffers()}
    for _ in range(2):
        shards.begin_step()
        for number, rows in enumerate(torch.randn(8, 3).chunk(LOGICAL_SHARDS)):
            shards.begin_shard()
            loss = model(rows).square().sum()
            loss.backward()
            shards.end_shard(number, loss)
        shards.end_step()
    changed = {name for name, tensor in model.named_buffers() if not tensor.equal(before[name])}
    assert changed == {"norm.running_mean", "norm.running_var", "norm.num_batches_tracked"}
    assert model.norm.num_batches_tracked == torch.tensor(2)


def test_ema_follows_the_weights_and_counts() -> None:
    model, averaged = net(), net()
    linear, norm = averaged[1], averaged[2]
    assert isinstance(linear, nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d)
    assert norm.running_mean is not None
    assert norm.num_batches_tracked is not None
    ema = Ema(model, averaged, decay=0.5)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(1)
        for tensor in averaged.state_dict().values():
            tensor.fill_(0)
    ema.update(step=0)
    expected = 1 - 1 / 10  # the decay starts low: (1 + 0) / (10 + 0)
    assert linear.weight[0, 0].item() == pytest.approx(expected)
    assert norm.running_mean[0].item() == pytest.approx(expected)
    assert norm.num_batches_tracked.item() == 1


@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_a_step_equals_plain_torch(accumulate: int) -> None:
    """Without batch norm, accumulation changes nothing but rounding."""
    torch.manual_seed(1)
    images, labels = torch.randn(8, 3, 2, 2), torch.randint(0, 3, (8,))
    images = images.flatten(1)
    ours, plain = nn.Linear(12, 3), nn.Linear(12, 3)
    plain.load_state_dict(ours.state_dict())
    params = OptimizerParams(name="sgd", lr=0.1, momentum=0.9, weight_decay=0.01, lr_factors={})
    optimizer, reference = make_optimizer(ours, params), torch.optim.SGD(plain.parameters(), lr=0.1)
    task = Classification(label_smoothing=0.1)
    for group in reference.param_groups:
        group |= {"momentum": 0.9, "nesterov": True}
    parts = [Batch(i, y) for i, y in zip(images.chunk(accumulate), labels.chunk(accumulate), strict=True)]
    for _ in range(3):
        recipe = Recipe(task.loss, nullcontext, None, None, None)
        total = train_step(Tapped(ours), optimizer, GradScaler("cpu", enabled=False), parts, recipe, 1 / 8)
        loss = F.cross_entropy(plain(images), labels, label_smoothing=0.1)
        reference.zero_grad()
        (loss + 0.005 * plain.weight.square().sum()).backward()  # type: ignore[no-untyped-call]
        reference.step()
        assert total.item() == pytest.approx(8 * loss.item(), rel=1e-5)
    assert torch.allclose(ours.weight, plain.weight, atol=1e-6)


def test_distillation_from_itself_adds_nothing_and_pulls_to_the_teacher() -> None:
    logits, teacher = torch.randn(4, 3, requires_grad=True), torch.randn(4, 3)
    params = DistilParams(teacher="dense", temperature=2.0, weight=1.0, features=None)
    assert distil(torch.ones(4), logits, logits.detach(), params).abs().max() < 1e-6
    before = distil(torch.ones(4), logits, teacher, params)
    before.sum().backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    after = distil(torch.ones(4), logits - 0.1 * logits.grad, teacher, params)
    assert (after < before).all()


def test_top5_of_three_classes_and_sums_over_batches() -> None:
    task = Classification(label_smoothing=0.3)
    logits, labels = torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 2.0]]), torch.tensor([0, 1])
    sums = {name: float(value) for name, value in task.sums(logits, labels).items()}
    metrics = task.metrics(sums)
    assert metrics["top1"] == 0.5
    assert metrics["top5"] == 1.0
    assert metrics["loss"] == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-6)


@pytest.mark.parametrize("classes", [10, 100, 1000])
def test_of_tied_logits_the_first_is_the_answer(classes: int) -> None:
    logits = torch.randint(0, 4, (1000, classes), generator=torch.manual_seed(0)).float()
    labels = torch.randint(0, classes, (1000,), generator=torch.manual_seed(1))
    right = logits.numpy().argmax(axis=1) == labels.numpy()
    assert Classification(label_smoothing=0.0).sums(logits, labels)["top1"] == right.sum()
    tied = Classification(label_smoothing=0.0).sums(torch.zeros(classes, classes), torch.arange(classes))
    assert (tied["top1"].item(), tied["top5"].item()) == (1, 5)


def tensors(value: float) -> dict[str, Tensor]:
    return {"w": torch.full((3,), value)}


def test_newest_verified_checkpoint_wins(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert store.newest() is None
    for step in (1, 2, 3):
        store.save(step, tensors(step), {"step": step})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000002", "step-000000003"]
    found = store.newest()
    assert found is not None
    assert found[0]["w"].tolist() == [3.0, 3.0, 3.0]
    assert found[1] == {"step": 3}


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("file", ["state.safetensors", "state.json", "manifest.json"])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, file: str, damage: str
) -> None:
    store = LocalStore(tmp_path)
    for step in (1, 2):
        store.save(step, tensors(step), {"step": step})
    path = tmp_path / "step-000000002" / file
    if damage == "flip" and file == "manifest.json":
        path.write_text(json.dumps({"state.json": "0" * 64, "state.safetensors": "0" * 64}))
    elif damage == "flip":
        _flip(path)
    elif damage == "truncate":
        path.write_bytes(path.read_bytes()[:-5])
    else:
        path.unlink()
    found = store.newest()
    assert found is not None
    assert found[1] == {"step": 1}


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with run_directory(tmp_path / "run"):  # noqa: SIM117 - the second must fail inside the first
        with (
            pytest.raises(LockedError, match=r"this stage with the same inputs is in use"),
            run_directory(tmp_path / "run"),
        ):
            pass


def test_without_the_lock_a_second_writer_takes_the_run_directory_from_the_first(tmp_path: Path) -> None:
    """The twin that must fail: the one that ends first removes what the other still needs."""
    with (
        patch("pipeline.train.job.locked", lambda *_, **__: nullcontext()),
        run_directory(tmp_path / "run") as first,
    ):
        first.mkdir()
        with run_directory(tmp_path / "run"):
            pass
        assert not first.exists()
        first.mkdir()  # for its own end


def test_a_lock_is_free_again_after_its_block(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / "lock", wait_s=0.0, what="x"):
            pass


def test_a_run_directory_outlives_an_error_and_not_a_success(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), run_directory(tmp_path / "run") as folder:
        (folder / "checkpoint").touch()
        raise RuntimeError
    assert (tmp_path / "run" / "checkpoint").exists()
    with run_directory(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()
