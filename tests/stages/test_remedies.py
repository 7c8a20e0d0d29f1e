"""What a message says to do is done, word for word, and mends what it was said of."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import safetensors.torch
from torch import nn

from pipeline.base.params import parse_section
from pipeline.base.yaml_file import read_yaml
from pipeline.data.prepared.manifest import MANIFEST
from pipeline.data.prepared.reader import Split
from pipeline.errors import EspalierError
from pipeline.models.description.params import ModelParams
from pipeline.models.description.spec import ModelSpec
from pipeline.models.nets.build import build
from pipeline.tasks.description.params import TaskParams
from pipeline.train.initial import fill, read_tensors
from pipeline.train.job import dense_spec
from tests.support.project import Done, Project, fresh_project
from tests.support.remedies import named

PREPARED = Path("data/prepared")
WEIGHTS = Path("data/init/weights.safetensors")
MINE = "mine.safetensors"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """With prepared data, and weights of its network beside it."""
    with fresh_project(tmp_path_factory.mktemp("project")) as project:
        project.run("dvc", "repro", "prepare").expect_success()
        safetensors.torch.save_file(network(project.root).state_dict(), project.root / MINE)
        yield project


def model(root: Path) -> ModelParams:
    return parse_section("model", read_yaml(root / "params.yaml")["model"], ModelParams)


def task(root: Path) -> TaskParams:
    return parse_section("task", read_yaml(root / "params.yaml")["task"], TaskParams)


def start(root: Path) -> ModelSpec:
    """The untrained network that starts from the weights in data/init."""
    return dense_spec(model(root), task(root), root / PREPARED, root / WEIGHTS)


def network(root: Path) -> nn.Module:
    return build(dense_spec(model(root), task(root), root / PREPARED).architecture)


@dataclass(frozen=True)
class Fault:
    """spoil: brings it about.

    looks: raises EspalierError until it is mended. completes: what a message leaves to the user.
    """

    spoil: Callable[[Path], object]
    looks: Callable[[Path], object]
    completes: tuple[str, ...] = ()


def shard(root: Path) -> Path:
    return next((root / PREPARED).glob("train-*.arrow"))


def train_split(root: Path) -> Split:
    return Split.open(root / PREPARED, "train")


def filled(root: Path) -> None:
    tensors = read_tensors(root / WEIGHTS)
    fill(network(root), tensors, WEIGHTS.name)


def wrap(root: Path) -> None:
    wrapped = {f"module.{name}": tensor for name, tensor in read_tensors(root / MINE).items()}
    safetensors.torch.save_file(wrapped, root / WEIGHTS)


FAULTS = {
    "no manifest": Fault(lambda root: (root / PREPARED / MANIFEST).unlink(), train_split),
    "a manifest cut off": Fault(lambda root: (root / PREPARED / MANIFEST).write_text("{"), train_split),
    "a shard cut off": Fault(
        lambda root: shard(root).write_bytes(shard(root).read_bytes()[:100]), train_split
    ),
    "no weights to start from": Fault(lambda root: (root / WEIGHTS).unlink(missing_ok=True), start, (MINE,)),
    "weights that are none": Fault(lambda root: (root / WEIGHTS).write_text("x"), filled, (MINE,)),
    "weights with a prefix": Fault(wrap, filled, (MINE,)),
}


def said(fault: Fault, root: Path) -> str:
    with pytest.raises(EspalierError) as caught:
        fault.looks(root)
    return str(caught.value)


def follow(project: Project, text: str, *completes: str) -> Done:
    """Run the first command that a message names."""
    words = named(text)[0]
    program = [sys.executable, "-m", "pipeline.cli"] if words[0] == "espalier" else words[:1]
    return project.run(*program, *words[1:], *completes).expect_success()


@pytest.mark.parametrize("name", FAULTS)
def test_the_remedy_of_a_message_mends_what_it_was_said_of(project: Project, name: str) -> None:
    fault = FAULTS[name]
    fault.spoil(project.root)
    follow(project, said(fault, project.root), *fault.completes)
    fault.looks(project.root)


def test_a_schema_that_is_out_of_date_is_written_again(project: Project) -> None:
    (project.root / "params.schema.json").write_text("{}")
    check = (sys.executable, "-m", "pipeline.cli", "schema", "--check")
    refused = project.run(*check)
    assert refused.status == 1
    follow(project, refused.err)
    project.run(*check).expect_success()


def test_edits_that_a_preset_would_overwrite_are_kept_until_they_may_go(project: Project) -> None:
    preset = (sys.executable, "-m", "pipeline.cli", "preset", "digits")
    refused = project.run(*preset)
    assert "keep a copy, then add --force" in refused.err
    kept = project.read_params()
    project.run(*preset, "--force").expect_success()
    project.write_params(kept)
