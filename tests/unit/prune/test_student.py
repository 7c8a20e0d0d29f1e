"""Another network in the place of a pruned one."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.base.files import sha256_file
from pipeline.base.params import parse_section
from pipeline.errors import CompressionError, ParamsError
from pipeline.models.disk.weights import load_model
from pipeline.prune.prune import prune
from tests.support.compress_samples import (
    TASK,
    fixed_profile,
    network,
    prepared_data,
    prune_params,
    saved,
    spec_of,
)

SMALL: dict[str, Any] = {"name": "mobilenetv2", "width": 4, "dropout": 0.0, "stochastic_depth": 0.0}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_data(tmp_path_factory.mktemp("data"))


def test_a_student_is_an_offspring_of_dense_for_the_same_images_and_classes(
    data: Path, tmp_path: Path
) -> None:
    spec = spec_of("resnet20", 16)
    dense = saved(tmp_path / "dense", spec, network(spec))
    report = prune(
        tmp_path / "dense", data, tmp_path / "pruned", prune_params(student=SMALL), fixed_profile(), TASK
    )
    student, model = load_model(tmp_path / "pruned")
    assert student.architecture == spec.architecture.model_copy(update=SMALL)
    assert student.ancestors == {**spec.ancestors, "dense": dense.digest}
    assert (student.plan, student.provenance) == ({}, {})
    assert model(torch.zeros(2, 3, 8, 8)).shape == (2, 3)
    values = report.metrics()
    assert values["macs"] < values["dense_macs"]
    assert values["params"] == sum(parameter.numel() for parameter in model.parameters())


def test_its_weights_hang_on_the_seed_alone(data: Path, tmp_path: Path) -> None:
    spec = spec_of("resnet20", 16)
    saved(tmp_path / "dense", spec, network(spec))
    digests = []
    for number, seed in enumerate((0, 0, 1)):
        torch.manual_seed(number)
        prune(
            tmp_path / "dense",
            data,
            tmp_path / str(number),
            prune_params(student=SMALL, seed=seed),
            fixed_profile(),
            TASK,
        )
        digests.append(sha256_file(tmp_path / str(number) / "weights.safetensors"))
    assert digests[0] == digests[1] != digests[2]


def test_a_whitening_first_layer_is_computed_from_the_images(data: Path, tmp_path: Path) -> None:
    spec = spec_of("resnet20", 16)
    saved(tmp_path / "dense", spec, network(spec))
    small = SMALL | {"name": "airbench", "width": 8}
    for folder, source in (("a", data), ("b", prepared_data(tmp_path / "other", seed=1))):
        prune(
            tmp_path / "dense", source, tmp_path / folder, prune_params(student=small), fixed_profile(), TASK
        )
    first, second = (load_model(tmp_path / folder)[1].state_dict() for folder in ("a", "b"))
    assert {name for name in first if not first[name].equal(second[name])} == {"whitening.weight"}


def test_a_student_that_is_no_smaller_is_refused(data: Path, tmp_path: Path) -> None:
    spec = spec_of("mlp")
    saved(tmp_path / "dense", spec, network(spec))
    with pytest.raises(
        CompressionError,
        match=r"prune\.student: mobilenetv2 has [\d,]+ MACs and the dense model [\d,]+; take",
    ):
        prune(
            tmp_path / "dense", data, tmp_path / "pruned", prune_params(student=SMALL), fixed_profile(), TASK
        )


def test_modules_to_ignore_make_no_sense_with_a_student() -> None:
    values = prune_params().model_dump() | {"student": SMALL, "ignored": ["stem"]}
    with pytest.raises(ParamsError, match="prune: ignored names modules of the dense model"):
        parse_section("prune", values, type(prune_params()))
