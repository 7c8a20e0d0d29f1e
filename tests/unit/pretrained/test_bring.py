"""A teacher that is brought: checked, among the ancestors, and shown images as it knows them."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.errors import ArtifactError
from pipeline.models.description.spec import ModelSpec, Preprocessing
from pipeline.models.disk.weights import load_model
from pipeline.pretrained.bring import bring_teacher
from pipeline.train.job import resolve_teacher
from pipeline.train.loop import fit
from pipeline.train.methods.distillation import Renormalised
from pipeline.train.params import DistilParams
from tests.support.compress_samples import network, saved, spec_of
from tests.support.data_samples import STRETCH
from tests.support.fit_samples import changed_job, job, prepared_digits

PIXELS = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def distil(teacher: str) -> DistilParams:
    return DistilParams.model_validate(
        {"teacher": teacher, "temperature": 2.0, "weight": 0.5, "features": None}
    )


@pytest.fixture
def teacher(tmp_path: Path) -> ModelSpec:
    """Saved in `model`, with the origin.json of one that was brought."""
    spec = spec_of("resnet20")
    made = saved(tmp_path / "model", spec, network(spec))
    (tmp_path / "model/origin.json").write_text(json.dumps({"source": "x", "sha256": made.digest}))
    return made


def test_a_model_folder_is_brought_whole(tmp_path: Path, teacher: ModelSpec) -> None:
    assert "resnet20 from model; `teacher: file` in finetune.distil learns from it" in bring_teacher(
        str(tmp_path / "model"), tmp_path
    )
    brought = tmp_path / "data/teacher"
    assert load_model(brought)[0] == teacher
    assert json.loads((brought / "origin.json").read_text()) == {"source": "model", "sha256": teacher.digest}


def test_a_corrupt_model_is_refused_and_what_was_there_stays(tmp_path: Path, teacher: ModelSpec) -> None:
    bring_teacher(str(tmp_path / "model"), tmp_path)
    other = spec_of("vgg11")
    saved(tmp_path / "other", other, network(other))
    weights = tmp_path / "other/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactError, match="is corrupt or was edited"):
        bring_teacher(str(tmp_path / "other"), tmp_path)
    assert load_model(tmp_path / "data/teacher")[0] == teacher


def test_a_brought_teacher_is_an_ancestor(tmp_path: Path, teacher: ModelSpec) -> None:
    student, dense, brought = spec_of("vgg11"), tmp_path / "dense", tmp_path / "model"
    assert resolve_teacher(student, None, dense, brought) == (student, None)
    assert resolve_teacher(student, distil("dense"), dense, brought) == (student, dense)
    spec, folder = resolve_teacher(student, distil("file"), dense, brought)
    assert folder == brought
    assert spec.ancestors == {**student.ancestors, "teacher": teacher.digest}


def test_a_teacher_that_is_not_as_it_was_brought_is_refused(tmp_path: Path, teacher: ModelSpec) -> None:
    bring_teacher(str(tmp_path / "model"), tmp_path)
    other = spec_of("resnet20", width=4)
    saved(tmp_path / "other", other, network(other, seed=9))
    for name in ("model.json", "weights.safetensors"):
        (tmp_path / "data/teacher" / name).write_bytes((tmp_path / "other" / name).read_bytes())
    with pytest.raises(
        ArtifactError, match=r"teacher/model.json: not what .*origin.json says .*`espalier weights --teacher`"
    ):
        resolve_teacher(spec_of("vgg11"), distil("file"), tmp_path, tmp_path / "data/teacher")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"num_outputs": 12},
            r"its answers are left, right, top, the data's 0, 1, 2, 3, 4 and 7 more; bring another teacher",
        ),
        ({"size": 16}, "its inputs are pixels 3 x 8 x 8, the data's pixels 3 x 16 x 16; bring another"),
    ],
)
def test_a_teacher_of_other_classes_or_images_is_refused(
    tmp_path: Path, teacher: ModelSpec, changes: Any, says: str
) -> None:
    assert teacher.weights
    with pytest.raises(ArtifactError, match=says):
        resolve_teacher(spec_of("vgg11", **changes), distil("file"), tmp_path, tmp_path / "model")


def test_a_missing_teacher_says_how_to_bring_one(tmp_path: Path) -> None:
    with pytest.raises(
        ArtifactError,
        match=r"teacher is file, but .* holds no model; bring one with `espalier weights --teacher`",
    ):
        resolve_teacher(spec_of("vgg11"), distil("file"), tmp_path, tmp_path)


def test_a_teacher_of_other_data_sees_images_as_it_normalises_them(tmp_path: Path) -> None:
    own, other = (
        Preprocessing(resize=STRETCH, sixteen_bit="refuse", mean=mean, std=std)
        for mean, std in (([0.4, 0.5, 0.6], [0.2, 0.2, 0.3]), ([0.1, 0.2, 0.3], [0.5, 0.6, 0.7]))
    )

    def normalised(by: Preprocessing) -> torch.Tensor:
        return (PIXELS - torch.tensor(by.mean)[:, None, None]) / torch.tensor(by.std)[:, None, None]

    seen = Renormalised(torch.nn.Identity(), own, other)(normalised(own))
    torch.testing.assert_close(seen, normalised(other))


def test_a_run_learns_from_a_teacher_of_other_statistics(tmp_path: Path) -> None:
    data = prepared_digits(tmp_path)
    student = job(data, tmp_path / "run", epochs=1, distil=distil("file").model_dump())
    architecture = student.problem.spec.architecture.model_copy(update={"name": "resnet20", "width": 4})
    other = Preprocessing(
        resize=STRETCH, sixteen_bit="refuse", mean=[0.0], std=student.problem.spec.preprocessing.std
    )
    spec = student.problem.spec.model_copy(update={"architecture": architecture, "preprocessing": other})
    saved(tmp_path / "teacher", spec, network(spec))
    fit(changed_job(student, teacher=tmp_path / "teacher"), "cpu", 1)
    assert (tmp_path / "run/result").exists()
