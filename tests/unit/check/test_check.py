"""What would stop a later stage is told before anything computes, all of it at once, and once."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.check.check import check_before, problems, refuse
from pipeline.check.trials import Trials
from pipeline.errors import EspalierError, ParamsError
from tests.support.fit_samples import prepared_digits
from tests.support.places import ROOT

SMALL: dict[str, Any] = {
    "model": {"name": "mlp", "width": 32},
    "prune": {"round_to": 1, "target": {"macs": 0.5}},
}


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(dict(values))
    for key, change in changes.items():
        nested = isinstance(change, dict) and isinstance(result.get(key), dict) and key != "target"
        result[key] = merged(result[key], change) if nested else change
    return result


def params(**changes: Any) -> dict[str, Any]:
    preset = yaml.safe_load((ROOT / "presets/digits.yaml").read_text())
    return merged(merged(preset, SMALL), changes)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with prepared digits."""
    root = tmp_path_factory.mktemp("project")
    (root / "data").mkdir()
    prepared_digits(root / "data")
    return root


def found(root: Path, scratch: Path, **changes: Any) -> list[str]:
    return list(Trials(root, params(**changes), scratch).problems())


def test_nothing_is_said_of_what_works(prepared: Path, tmp_path: Path) -> None:
    assert found(prepared, tmp_path / "with") == []
    assert found(tmp_path / "no project", tmp_path / "without") == []


TO_ONE_PIXEL = {"name": "mobilenetv2", "width": 4}


TEACHER = {"features": {"kind": "features", "weight": 1.0, "layers": {"stem": "stem"}}}
STUDENT = {"name": "mlp", "width": 64, "dropout": 0.0, "stochastic_depth": 0.0}
CASES: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    (
        {"finetune": {"global_batch_size": 5000}},
        "finetune: global_batch_size is 5000, but the training split has 1259 images; lower it",
        {"finetune": {"global_batch_size": 1259}},
    ),
    (
        {"train": {"global_batch_size": 2, "accumulate": 2}},
        "images has 1; raise global_batch_size, or lower resources.workers or accumulate",
        {"train": {"global_batch_size": 5, "accumulate": 2}},
    ),
    (
        {"train": {"exact_elastic": True}, "resources": {"workers": 5}},
        "train: exact_elastic cuts each batch into 4 parts, one worker's at least; lower resources.workers "
        "from 5 to 4",
        {"train": {"exact_elastic": True}, "resources": {"workers": 4}},
    ),
    (
        {"finetune": {"frozen": ["stagez.0"]}},
        "finetune: frozen: the network has no module 'stagez.0'; did you mean 'stages.0'?",
        {"finetune": {"frozen": ["stages.0"]}},
    ),
    (
        {"finetune": {"optimizer": {"lr_factors": {"heat.weight": 2.0}}}},
        "finetune: optimizer.lr_factors: no trained parameter's name fits 'heat.weight'; did you mean "
        "'head.weight'?",
        {"finetune": {"optimizer": {"lr_factors": {"head.weight": 2.0}}}},
    ),
    (
        {"prune": {"ignored": ["heat"]}},
        "prune: prune.ignored: the model has no module 'heat'; did you mean 'head'?",
        {"prune": {"ignored": ["head"]}},
    ),
    (
        {"prune": {"target": {"macs": 0.01}}},
        "prune: prune.target: 0.010 of the dense MACs is out of reach",
        {"prune": {"target": {"macs": 0.3}}},
    ),
    (
        {"prune": {"student": STUDENT}},
        "take a smaller width",
        {"prune": {"student": STUDENT | {"width": 16}}},
    ),
    (
        {"finetune": {"distil": TEACHER}},
        "finetune: distil.features.layers: the student has no module 'stem'",
        {"finetune": {"distil": {"features": None}}},
    ),
    (
        {"finetune": {"distil": {"teacher": "file"}}},
        "holds no model; bring one with `espalier weights --teacher`, or take dense",
        {"finetune": {"distil": {"teacher": "dense"}}},
    ),
    (
        {"model": {"init": "file"}},
        "train: model.init is file, but there is no ",
        {"model": {"init": "random"}},
    ),
    (
        {"finetune": {"amp": "fp16"}, "resources": {"device": "cpu"}},
        "finetune: amp is fp16, which needs a CUDA device, but this run is on the CPU; use bf16 or off",
        {"finetune": {"amp": "off"}, "resources": {"device": "cpu"}},
    ),
    (
        {"model": TO_ONE_PIXEL, "finetune": {"global_batch_size": 3}},
        "finetune: the network cannot be trained on a single image at a time (module '",
        {"model": TO_ONE_PIXEL, "finetune": {"global_batch_size": 5}},
    ),
    (
        {"quantize": {"calibration_images": 3}},
        "quantize.calibration_images is 3, but there are 10 groups (classes) of images; raise it to 10 or",
        {"quantize": {"calibration_images": 10}},
    ),
]
"""What stops a later stage, what is said of it, and what it then says to write."""


@pytest.mark.parametrize(("changes", "says", "mended"), CASES, ids=[says for _, says, _ in CASES])
def test_what_would_stop_a_later_stage_is_found_and_the_remedy_works(
    prepared: Path, tmp_path: Path, changes: dict[str, Any], says: str, mended: dict[str, Any]
) -> None:
    problems = found(prepared, tmp_path / "spoilt", **changes)
    assert len(problems) == 1
    assert says in problems[0]
    assert found(prepared, tmp_path / "mended", **mended) == []


def test_images_that_are_too_small_are_told_before_they_are_prepared(tmp_path: Path) -> None:
    values = {
        "model": {"name": "torchvision/squeezenet1_1", "width": None},
        "data": {"height": 8, "width": 8, "channels": 3},
    }
    problems = found(tmp_path, tmp_path / "scratch", **values)
    assert "train: the network does not take images of 3 x 8 x 8 (module 'features." in problems[0]


def test_all_problems_are_told_together_in_a_process_of_their_own(prepared: Path) -> None:
    bad = params(
        train={"global_batch_size": 5000}, finetune={"frozen": ["steam"]}, prune={"ignored": ["steam"]}
    )
    several = problems(prepared, [bad, params()])
    assert [[line.partition(":")[0] for line in each] for each in several] == [
        ["train", "prune", "finetune"],
        [],
    ]
    with pytest.raises(ParamsError, match=r"(?s)what cannot work:\n  train: .*\n  prune: .*\n  finetune: "):
        refuse(several[0])


@pytest.fixture
def root(prepared: Path) -> Path:
    (prepared / "params.yaml").write_text(yaml.safe_dump(params()))
    return prepared


class Looks:
    """What a check finds, and how often it looked."""

    def __init__(self, found: list[str] | EspalierError) -> None:
        self._found = found
        self.number = 0

    def __call__(self, *_: object) -> list[list[str]]:
        self.number += 1
        if isinstance(self._found, EspalierError):
            raise self._found
        return [self._found]


def test_the_same_inputs_are_checked_once(root: Path) -> None:
    looks = Looks([])
    for stage in ("prepare", "train", "prune", "finetune", "evaluate"):
        check_before(stage, root, looks)
    assert looks.number == 1, (
        "digits are prepared sooner than they are checked, and nothing trains after finetune"
    )
    (root / "params.yaml").write_text(
        yaml.safe_dump(params(register={"min_score": 0.1}, evaluate={"parity_images": 3}))
    )
    check_before("train", root, looks)
    assert looks.number == 1, "no training depends on these"
    (root / "params.yaml").write_text(yaml.safe_dump(params(train={"epochs": 3})))
    check_before("train", root, looks)
    check_before("train", root, looks)
    assert looks.number == 2


def test_a_problem_is_no_mark_and_a_check_that_fails_itself_stops_nothing(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "params.yaml").write_text(yaml.safe_dump(params(train={"epochs": 4})))
    for _ in range(2):
        with pytest.raises(ParamsError, match="train: no"):
            check_before("train", root, Looks(["train: no"]))
    check_before("train", root, Looks(EspalierError("could not be found out (killed)")))
    assert "espalier train: could not be found out (killed); the stage goes on" in capsys.readouterr().err
