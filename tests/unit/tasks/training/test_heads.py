"""Several heads: each keeps its own loss and metrics, and all are put together by their weights."""

from dataclasses import replace

import pytest
import torch

from pipeline.data.prepared.batch import Tensors
from pipeline.data.prepared.manifest import SplitInfo
from pipeline.tasks.description.heads import HeadsNotes
from pipeline.tasks.judging.heads import HeadsExaminer
from pipeline.tasks.training.classification import Classification, balanced_weights
from pipeline.tasks.training.heads import Heads
from pipeline.tasks.training.multilabel import Multilabel, positive_weights
from pipeline.tasks.training.regression import Regression
from pipeline.tasks.training.task import make_task
from tests.support.problems import COUNT, HEADS, HEADS_PARAMS, KIND, SEEN, answers
from tests.support.tasks import classification

TRAIN = SplitInfo(
    rows=100, counts={"kind": [70, 20, 10], "seen": [50, 30, 20, 10], "count": [10] * 10}, shards=[]
)
TASK = make_task(HEADS_PARAMS, HEADS)


def batch(samples: int = 40, seed: int = 0) -> tuple[Tensors, Tensors]:
    outputs, targets = answers(samples, seed)
    return (
        {name: torch.from_numpy(each) for name, each in outputs.items()},
        {name: torch.from_numpy(each) for name, each in targets.items()},
    )


OUTPUTS, TARGETS = batch()


def heads(task: object) -> tuple[Classification, Multilabel, Regression]:
    assert isinstance(task, Heads)
    kind, seen, count = (task.tasks[name] for name in ("kind", "seen", "count"))
    assert isinstance(kind, Classification)
    assert isinstance(seen, Multilabel)
    assert isinstance(count, Regression)
    return kind, seen, count


def metrics(outputs: Tensors, targets: Tensors) -> dict[str, float]:
    return TASK.metrics({name: float(value) for name, value in TASK.sums(outputs, targets).items()})


def test_heads_are_made_of_params_and_notes() -> None:
    kind, seen, count = heads(TASK)
    assert kind == Classification(KIND, 0.1, None, "kind", "kind")
    assert seen == Multilabel(SEEN, None, "seen", "seen")
    assert count == Regression(COUNT, "huber", "count", "count")


def test_weights_are_balanced_by_the_counts_of_the_head() -> None:
    kind, seen, _ = heads(make_task(HEADS_PARAMS, HEADS, TRAIN))
    assert kind.weights_K is not None
    assert seen.weights_K is not None
    assert torch.equal(kind.weights_K, balanced_weights([70, 20, 10]))
    assert torch.equal(seen.weights_K, positive_weights(TRAIN, "seen"))


def test_one_problem_alone_reads_the_counts_of_its_label() -> None:
    train = replace_counts({"label": [70, 20, 10]})
    task = make_task(classification(0.1, "balanced"), KIND, train)
    assert isinstance(task, Classification)
    assert task.weights_K is not None
    assert torch.equal(task.weights_K, balanced_weights([70, 20, 10]))
    assert make_task(classification(0.1), KIND, train) == Classification(KIND, 0.1)
    assert make_task(classification(0.1, "balanced"), KIND) == Classification(KIND, 0.1)


def replace_counts(counts: dict[str, list[int]]) -> SplitInfo:
    return TRAIN.model_copy(update={"counts": counts})


def test_the_loss_and_the_divergence_are_sums_by_weight() -> None:
    kind, seen, count = heads(TASK)
    parts = [each.loss(OUTPUTS, TARGETS) for each in (kind, seen, count)]
    assert torch.allclose(TASK.loss(OUTPUTS, TARGETS), parts[0] + 0.5 * parts[1] + 0.2 * parts[2])
    teacher, _ = batch(seed=1)
    parts = [each.divergence(OUTPUTS, teacher, 2.0) for each in (kind, seen, count)]
    assert torch.allclose(TASK.divergence(OUTPUTS, teacher, 2.0), parts[0] + 0.5 * parts[1] + 0.2 * parts[2])


def test_a_head_of_weight_one_alone_has_its_own_loss_to_the_bit() -> None:
    kind, _, _ = heads(TASK)
    alone = Heads(HEADS.model_copy(update={"heads": {"kind": HEADS.heads["kind"]}}), {"kind": kind})
    plain = replace(kind, target="label", output="logits")
    assert torch.equal(
        alone.loss(OUTPUTS, TARGETS), plain.loss({"logits": OUTPUTS["kind"]}, {"label": TARGETS["kind"]})
    )


def test_metrics_are_those_of_each_head_and_the_score_their_mean() -> None:
    found = metrics(OUTPUTS, TARGETS)
    assert isinstance(TASK, Heads)
    for name, task in TASK.tasks.items():
        sums = {key: float(value) for key, value in task.sums(OUTPUTS, TARGETS).items()}
        own = {key.removeprefix(f"{name}/"): value for key, value in found.items() if key.startswith(name)}
        assert own == task.metrics(sums)
    assert found["loss"] == pytest.approx(
        found["kind/loss"] + 0.5 * found["seen/loss"] + 0.2 * found["count/loss"]
    )
    assert found["score"] == pytest.approx(
        (found["kind/top1"] + 0.5 * found["seen/f1"] + 0.2 * found["count/score"]) / 1.7
    )


def test_the_score_is_the_mean_score_of_the_judges() -> None:
    scores = HeadsExaminer(HEADS).score(*answers(40))
    assert metrics(OUTPUTS, TARGETS)["score"] == pytest.approx(scores.mean(), rel=1e-12)


def test_sums_have_a_fixed_order_and_add_up_over_batches() -> None:
    whole = TASK.sums(OUTPUTS, TARGETS)
    assert tuple(whole) == TASK.sum_names
    parts = [
        TASK.sums(*({name: each[rows] for name, each in tensors.items()} for tensors in (OUTPUTS, TARGETS)))
        for rows in torch.split(torch.arange(40), [13, 27])
    ]
    assert {name: float(parts[0][name] + parts[1][name]) for name in whole} == pytest.approx(
        {name: float(value) for name, value in whole.items()}
    )


def test_a_network_gives_the_outputs_of_all_heads_in_order() -> None:
    assert {name: given.shape for name, given in TASK.outputs().items()} == {
        "kind": [3],
        "seen": [4],
        "count": [1],
    }


def test_sampling_is_balanced_by_the_first_head_that_has_classes() -> None:
    kind, seen, count = heads(TASK)
    strata = Heads(HEADS, {"seen": seen, "count": count, "kind": kind}).strata(TARGETS)
    assert strata is not None
    assert torch.equal(strata, TARGETS["kind"])
    assert Heads(HEADS, {"seen": seen, "count": count}).strata(TARGETS) is None


def test_each_head_that_has_thresholds_is_tuned() -> None:
    kind, seen, count = heads(TASK)
    notes = make_task(HEADS_PARAMS, HEADS).tuned(OUTPUTS, TARGETS)
    assert TASK.tunes
    assert isinstance(notes, HeadsNotes)
    assert notes.heads["seen"].task == seen.tuned(OUTPUTS, TARGETS) != SEEN
    assert notes.heads == HEADS.heads | {"seen": notes.heads["seen"]}
    assert notes.heads["seen"].weight == HEADS.heads["seen"].weight
    assert not Heads(HEADS, {"kind": kind, "count": count}).tunes
