"""Which models are candidates, and which of them no other beats."""

from typing import Any

import pytest

from pipeline.errors import ArtifactError
from pipeline.frontier.candidates import frontier
from pipeline.frontier.experiments import Experiment
from pipeline.frontier.points import COMPARED_VARIANTS, Project, points
from pipeline.frontier.show import candidates_table
from tests.support.figures_samples import figures
from tests.support.frontier_samples import sample


def test_the_pareto_set_has_no_point_that_another_beats() -> None:
    best = sample().pareto(1)
    assert [(each.variant, each.label) for each in best] == [
        ("dense", ""),
        ("quantized", "0.7"),
        ("quantized", "0.5"),
    ]


def experiment(project: Project, changes: dict[str, Any], device: str = "CPU x") -> Experiment:
    point = points(project, {key: [value] for key, value in changes.items()})[0]
    parts = {
        "metrics": figures().quality.model_dump(),
        "latency": {**figures().latency.model_dump(), "device": device},
    }
    measured = {
        f"reports/{each}/{name}.json": part
        for each in ("dense", *COMPARED_VARIANTS)
        for name, part in parts.items()
    }
    measured |= {"reports/prune.json": {"dense_val_score": 0.98}}
    measured |= {"reports/quantize.json": {"val_score": 0.96, "float_val_score": 0.97}}
    return Experiment(point.name, point.values, measured)


def test_a_model_that_points_share_is_one_candidate(project: Project) -> None:
    made = [
        experiment(project, {"prune.max_ratio": 0.5, "quantize.calibration_images": images})
        for images in (64, 128)
    ]
    found = frontier(project, made, ["finetuned", "quantized"])
    assert sorted((each.variant, each.label, each.val_score) for each in found.candidates) == [
        ("finetuned", "", 0.97),
        ("quantized", "128", 0.96),
        ("quantized", "64", 0.96),
    ]
    assert found.keys == ["quantize.calibration_images"]


def test_models_that_differ_in_the_key_and_not_in_the_value_are_two(project: Project) -> None:
    made = [experiment(project, {"prune.max_ratio": ratio}) for ratio in (0.5, 0.6)]
    targets = [{"macs": 0.5}, {"params": 0.5}]
    params = [
        {**each.params, "prune": {**each.params["prune"], "max_ratio": 0.5, "target": target}}
        for each, target in zip(made, targets, strict=True)
    ]
    mixed = [Experiment(project.point({}, values).name, values, made[0].metrics) for values in params]
    assert {each.label for each in frontier(project, mixed, ["finetuned"]).candidates} == {
        "macs=0.5",
        "params=0.5",
    }


def test_experiments_of_another_state_are_left_out(project: Project) -> None:
    mine, other = (experiment(project, {"prune.max_ratio": ratio}) for ratio in (0.5, 0.6))
    old = Experiment("frontier-0", other.params, other.metrics)
    found = frontier(project, [mine, old], ["finetuned"])
    assert found.left_out == {"of other code, data or a dense model of other params": 1}
    assert "\nexperiments left out: 1 of other code" in candidates_table(found)
    with pytest.raises(ArtifactError, match=r"no experiments on this commit to show \(1 of other code"):
        frontier(project, [old], ["finetuned"])
    lacking = Experiment(
        mine.name, mine.params, {**mine.metrics, "reports/quantize.json": {"val_score": 0.9}}
    )
    with pytest.raises(
        ArtifactError, match=r"reports/quantize.json of experiment frontier-\w+: float_val_score"
    ):
        frontier(project, [lacking], ["finetuned"])


def test_of_two_devices_the_one_with_more_experiments_is_shown_and_the_other_is_named(
    project: Project,
) -> None:
    made = [experiment(project, {"prune.max_ratio": ratio}) for ratio in (0.5, 0.6)]
    made += [experiment(project, {"prune.max_ratio": ratio}, device="CPU y") for ratio in (0.3, 0.4, 0.7)]
    found = frontier(project, made, ["finetuned"])
    assert found == frontier(project, made[::-1], ["finetuned"]), (
        "the order in which they are listed decides nothing"
    )
    assert {each.label for each in found.candidates} == {"0.3", "0.4", "0.7"}
    assert found.dense.measured_on.startswith("CPU y")
    assert "experiments left out: 2 timed on CPU x, 2 threads, onnxruntime 1" in candidates_table(found)
    tied = [frontier(project, some, ["finetuned"]).dense.measured_on for some in (made[1:3], made[2:0:-1])]
    assert tied == ["CPU x, 2 threads, onnxruntime 1"] * 2
