"""The reader of tests/infra/manifests.py itself."""

from pathlib import Path

import pytest
import yaml

from tests.infra.manifests import documents, problems

WRONG = [
    ("8GB", "quantity"),
    ("", "quantity"),
    (True, "quantity"),
    (True, "integer"),
    (1, "boolean"),
    ("1", "integer"),
    (1, "string"),
]


def test_a_repeated_key_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text("a: 1\nb: {c: 1, c: 2}\n")
    with pytest.raises(yaml.composer.ComposerError, match="repeated"):
        documents(tmp_path / "twice.yaml")


def test_a_merge_may_bring_what_is_overridden(tmp_path: Path) -> None:
    (tmp_path / "merge.yaml").write_text("a: &a {x: 1, y: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, x: 3}\n")
    assert documents(tmp_path / "merge.yaml")[0]["c"] == {"x": 3, "y": 1}


def test_the_loader_makes_no_objects(tmp_path: Path) -> None:
    (tmp_path / "object.yaml").write_text("a: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(yaml.constructor.ConstructorError):
        documents(tmp_path / "object.yaml")


@pytest.mark.parametrize("value", [1, 0.5, "500m", "8Gi", "1e3", ".5"])
def test_quantities(value: object) -> None:
    assert [*problems(value, "quantity")] == ([] if value != 0.5 else [": 0.5 is no quantity"])


@pytest.mark.parametrize(("value", "kind"), WRONG)
def test_a_wrong_type_is_told(value: object, kind: str) -> None:
    assert [*problems(value, kind)] == [f": {value!r} is no {kind}"]
