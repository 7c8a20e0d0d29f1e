"""A wrong key or value of params.yaml is one clear error."""

from functools import reduce
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field

from pipeline.base.params import Section, parse_section
from pipeline.base.yaml_file import parse_yaml, read_yaml
from pipeline.errors import ParamsError
from pipeline.schema import SECTIONS, check_params, check_values, json_schema
from pipeline.tasks.description.params import TaskParams
from tests.support.places import ROOT


class Inner(Section):
    momentum: float = Field(ge=0.0, lt=1.0)


class Example(Section):
    learning_rate: float = Field(gt=0.0, le=10.0)
    kind: Literal["sgd", "adamw"]
    inner: Inner


GOOD: dict[str, Any] = {"learning_rate": 0.1, "kind": "sgd", "inner": {"momentum": 0.9}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"learning_rat": 1},
            r"params.yaml: unknown key 'train.learning_rat'; did you mean 'learning_rate'\?",
        ),
        (
            {"inner": {"momentum": 0.9, "momentun": 1}},
            r"unknown key 'train.inner.momentun'; did you mean 'momentum'\?",
        ),
        ({"learning_rate": 0.0}, r"train.learning_rate is 0.0, but input should be greater than 0"),
        ({"learning_rate": "0.1"}, r"train.learning_rate is '0.1', but input should be a valid number"),
        ({"kind": "sdg"}, r"train.kind is 'sdg', but input should be 'sgd' or 'adamw'"),
        ({"inner": {}}, r"key 'train.inner.momentum' is missing; add it"),
        ({"learning_rate": float("nan")}, r"train.learning_rate is nan, but input should be"),
    ],
)
def test_each_mistake_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ParamsError, match=message):
        parse_section("train", {**GOOD, **change}, Example)


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(ParamsError) as caught:
        parse_section("train", {"kind": "x", "inner": {"momentum": 2.0}}, Example)
    assert len(str(caught.value).splitlines()) == 3


def test_a_section_is_immutable() -> None:
    section = parse_section("train", GOOD, Example)
    with pytest.raises(ValueError, match="frozen"):
        section.kind = "adamw"


@pytest.mark.parametrize("preset", sorted(path.name for path in (ROOT / "presets").glob("*.yaml")))
def test_presets_are_valid(preset: str) -> None:
    check_params(ROOT / "presets" / preset)


def test_a_mistyped_section_and_a_missing_one_are_named(tmp_path: Path) -> None:
    text = (ROOT / "presets/digits.yaml").read_text().replace("\nprune:", "\nprun:")
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ParamsError) as caught:
        check_params(tmp_path / "params.yaml")
    assert "unknown section 'prun'; did you mean 'prune'?" in str(caught.value)
    assert "section 'prune' is missing; add it" in str(caught.value)


@pytest.mark.parametrize(
    ("trained", "key", "deployed", "message"),
    [
        (
            True,
            "reduce_range",
            False,
            "quantize.reduce_range is false, but finetune.quantization_aware trains for true",
        ),
        (
            False,
            "reduce_range",
            True,
            "quantize.reduce_range is true, but finetune.quantization_aware trains for false",
        ),
        (
            True,
            "per_channel",
            False,
            "quantize.per_channel is false, but finetune.quantization_aware trains for true",
        ),
        (
            True,
            "mode",
            "dynamic",
            "quantize.mode is dynamic, but finetune.quantization_aware trains for static",
        ),
        (
            True,
            "mode",
            "weight_only",
            "quantize.mode is weight_only, but finetune.quantization_aware trains for static",
        ),
    ],
)
def test_training_rounds_as_the_deployed_file_does(
    trained: bool, key: str, deployed: bool | str, message: str
) -> None:
    values = read_yaml(ROOT / "presets/digits.yaml")
    values["finetune"]["quantization_aware"] = {"start": 0.0, "reduce_range": trained}
    values["quantize"]["reduce_range"] = trained
    check_values(values, "params.yaml")
    values["quantize"][key] = deployed
    with pytest.raises(ParamsError, match=f"^params.yaml: {message}; set it to"):
        check_values(values, "params.yaml")
    values["finetune"]["quantization_aware"] = None
    check_values(values, "params.yaml")


@pytest.mark.parametrize(
    ("where", "text", "message"),
    [
        (
            "storage: null",
            "storage: s3://me:canary-1@host/b",
            r"resources\.storage holds a user name or password in an address",
        ),
        (
            "address: null",
            "address: 'http://h?token=canary-2'",
            r"resources\.address holds a signature or token in an address",
        ),
        (
            "path: data/raw/README.md",
            "path: data/canary-3",
            r"data\.source\.path holds the value of SOME_API_TOKEN",
        ),
        ("epochs: ", "canary-3: 1\n  epochs: ", r"train holds the value of SOME_API_TOKEN"),
    ],
)
def test_a_secret_is_refused_and_not_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, text: str, message: str
) -> None:
    monkeypatch.setenv("SOME_API_TOKEN", "canary-3")
    params = (ROOT / "presets/digits.yaml").read_text()
    assert where in params
    (tmp_path / "params.yaml").write_text(params.replace(where, text, 1))
    with pytest.raises(ParamsError, match=message) as caught:
        check_params(tmp_path / "params.yaml")
    assert "canary" not in str(caught.value)


def test_schema_describes_every_field() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == set(SECTIONS)
    undescribed = [
        f"{name}.{key}"
        for name, definition in schema["$defs"].items()
        for key, field in definition.get("properties", {}).items()
        if "description" not in field and "$ref" not in field
    ]
    assert undescribed == []


RENAMED = [
    (section, old, new)
    for section, model in SECTIONS.items()
    if issubclass(model, Section)
    for old, new in model.renamed.items()
]


@pytest.mark.parametrize(("section", "old", "new"), RENAMED)
def test_an_old_key_is_told_its_new_name_and_nothing_else(section: str, old: str, new: str) -> None:
    values = read_yaml(ROOT / "presets/cifar10.yaml")[section]
    *below, key = new.split(".")
    values[old] = reduce(lambda found, name: found[name], below, values).pop(key)
    with pytest.raises(ParamsError) as error:
        parse_section(section, values, SECTIONS[section])
    assert str(error.value) == (
        f"params.yaml: key '{section}.{old}' is called '{section}.{new}' now; rename it"
    )


class Renamed(Section):
    renamed: ClassVar[dict[str, str]] = {"old": "new"}
    new: int = Field(description="one")
    other: int = Field(description="two")


class AroundRenamed(Section):
    inner: Renamed = Field(description="nested")


def test_an_old_key_of_a_nested_section_is_told_too_and_what_else_is_missing_is() -> None:
    with pytest.raises(ParamsError) as error:
        parse_section("outer", {"inner": {"old": 1}}, AroundRenamed)
    assert sorted(str(error.value).splitlines()) == [
        "params.yaml: key 'outer.inner.old' is called 'outer.inner.new' now; rename it",
        "params.yaml: key 'outer.inner.other' is missing; add it",
    ]


TASKS: list[tuple[Any, str]] = [
    ({"name": "clasification"}, "task.name is 'clasification'; did you mean 'classification'?"),
    ({"label_smoothing": 0.1}, "key 'task.name' is missing; add it"),
    (
        {"name": "classification", "label_smoothing": 2.0, "class_weights": "none"},
        "task.label_smoothing is 2.0, but input should be less than 1",
    ),
    (
        {"name": "multilabel", "class_weights": "none", "label_smoothing": 0.0},
        "unknown key 'task.label_smoothing'; known: class_weights, name",
    ),
    (
        {"name": "heads", "heads": {"n": {"task": {"name": "regression", "loss": "huber"}}}},
        "key 'task.heads.n.weight' is missing; add it",
    ),
    (
        {"name": "heads", "heads": {"n": {"weight": 1.0, "task": {"name": "regression", "loss": "hube"}}}},
        "task.heads.n.task.loss is 'hube', but input should be 'squared', 'absolute' or 'huber'",
    ),
    (
        {"name": "heads", "heads": {"n": {"weight": 1.0, "task": {"name": "regresion"}}}},
        "task.heads.n.task.name is 'regresion'; did you mean 'regression'?",
    ),
]


@pytest.mark.parametrize(("task", "message"), TASKS)
def test_a_wrong_key_of_one_of_several_sections_is_named_as_it_stands_in_the_file(
    task: Any, message: str
) -> None:
    with pytest.raises(ParamsError) as error:
        parse_section("task", task, TaskParams)
    assert str(error.value) == f"params.yaml: {message}"


def test_two_heads_of_one_name() -> None:
    text = "task:\n  name: heads\n  heads:\n    n: {weight: 1.0}\n    n: {weight: 2.0}\n"
    with pytest.raises(ParamsError, match=r"line 5: key 'n' is written twice; keep one"):
        parse_yaml(text, "params.yaml")


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (
            {"digit": {"field": "class", "column": "label"}},
            "task needs a target 'label' in data.targets; known: digit",
        ),
        (
            {"label": {"field": "number", "column": "label"}},
            "data.targets.label.field is number, but the task needs class; change one of them",
        ),
    ],
)
def test_a_task_about_what_the_data_do_not_have(targets: Any, message: str) -> None:
    values = read_yaml(ROOT / "params.yaml")
    values["data"]["targets"] = targets
    with pytest.raises(ParamsError) as error:
        check_values(values, "params.yaml")
    assert str(error.value) == f"params.yaml: {message}"
