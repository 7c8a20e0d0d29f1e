"""A stage touches what dvc.yaml declares, and its key changes with exactly that."""

from pathlib import Path

import pytest
from pydantic import Field

from pipeline.base.params import Section
from pipeline.base.stage import Stage
from pipeline.errors import UndeclaredError

DVC = """
stages:
  prepare:
    cmd: python -m stages.prepare
    params: [data]
    deps: ["${data.source.path}"]
    outs: [data/prepared]
  evaluate:
    foreach: {dense: {model: artifacts/dense}, pruned: {model: artifacts/pruned}}
    do:
      cmd: python -m stages.evaluate ${key}
      params: [evaluate]
      deps: ["${item.model}", code.py]
      outs: ["exported/${key}"]
      metrics: ["reports/${key}/metrics.json"]
      plots: [{"reports/${key}/confusion.csv": {template: confusion}}]
"""
PARAMS = "data: {source: {path: raw.txt}}\nevaluate: {repeats: 3}\nresources: {workers: 2}\n"


class Evaluate(Section):
    repeats: int = Field(ge=1)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "dvc.yaml").write_text(DVC)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "raw.txt").write_text("raw")
    (tmp_path / "code.py").write_text("1")
    (tmp_path / "artifacts" / "dense").mkdir(parents=True)
    (tmp_path / "artifacts" / "dense" / "w").write_text("weights")
    return tmp_path


def test_templates_are_filled_as_dvc_does(root: Path) -> None:
    assert Stage("prepare", root).dep("raw.txt") == root / "raw.txt"
    stage = Stage("evaluate@dense", root)
    assert stage.deps == ["artifacts/dense", "code.py"]
    assert stage.outs == ["exported/dense", "reports/dense/metrics.json", "reports/dense/confusion.csv"]
    assert stage.params("evaluate", Evaluate).repeats == 3


def test_of_a_section_only_the_declared_keys_are_handed_out(root: Path) -> None:
    (root / "dvc.yaml").write_text(DVC.replace("params: [evaluate]", "params: [evaluate.repeats]"))
    before = Stage("evaluate@dense", root).key
    (root / "params.yaml").write_text(PARAMS.replace("repeats: 3", "repeats: 3, other: 1"))
    after = Stage("evaluate@dense", root)
    assert after.params("evaluate", Evaluate).repeats == 3
    assert after.key == before
    (root / "params.yaml").write_text(PARAMS.replace("repeats: 3", "repeats: 4"))
    assert Stage("evaluate@dense", root).key != before


def test_undeclared_access_is_refused_with_the_nearest_name(root: Path) -> None:
    stage = Stage("evaluate@dense", root)
    with pytest.raises(
        UndeclaredError,
        match=r"reads section 'data' of params.yaml, but dvc.yaml declares only \['evaluate'\]",
    ):
        stage.params("data", Evaluate)
    with pytest.raises(UndeclaredError, match=r"reads 'artifacts/pruned'.*did you mean 'artifacts/dense'"):
        stage.dep("artifacts/pruned")
    with pytest.raises(UndeclaredError, match=r"writes 'exported/pruned'.*did you mean 'exported/dense'"):
        stage.out("exported/pruned")


def test_a_missing_input_says_how_to_make_it(root: Path) -> None:
    with pytest.raises(
        UndeclaredError,
        match=r"needs 'artifacts/pruned', which does not exist; run `dvc repro evaluate@pruned`",
    ):
        Stage("evaluate@pruned", root).dep("artifacts/pruned")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("prepar", "no stage 'prepar'; did you mean 'prepare'"),
        ("evaluate@dens", "no item 'dens'; did you mean 'dense'"),
    ],
)
def test_unknown_stage_is_named(root: Path, name: str, message: str) -> None:
    with pytest.raises(UndeclaredError, match=message):
        Stage(name, root)


def test_key_follows_declared_inputs_and_nothing_else(root: Path) -> None:
    key = Stage("evaluate@dense", root).key
    (root / "params.yaml").write_text(
        PARAMS.replace("workers: 2", "workers: 4").replace("raw.txt", "raw2.txt")
    )
    (root / "undeclared").touch()
    assert Stage("evaluate@dense", root).key == key
    for path, text in [
        ("params.yaml", PARAMS.replace("repeats: 3", "repeats: 4")),
        ("code.py", "2"),
        ("artifacts/dense/w", "other"),
    ]:
        before = (root / path).read_text()
        (root / path).write_text(text)
        assert Stage("evaluate@dense", root).key != key, path
        (root / path).write_text(before)
    (root / "params.yaml").write_text(PARAMS)
    assert Stage("evaluate@dense", root).key == key
