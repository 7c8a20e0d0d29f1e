"""Every number of params.yaml has a smallest and a largest value, every text, list and mapping a greatest
length.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field

from pipeline.base.params import Section
from pipeline.base.yaml_file import read_yaml
from pipeline.errors import ParamsError
from pipeline.schema import check_values, json_schema

ROOT = Path(__file__).parents[2]
CHOICE = {"enum", "const"}
LEAST = CHOICE | {"minimum", "exclusiveMinimum"}
MOST = CHOICE | {"maximum", "exclusiveMaximum"}
BOUNDS: dict[str, list[set[str]]] = {
    "integer": [LEAST, MOST],
    "number": [LEAST, MOST],
    "string": [CHOICE | {"maxLength"}],
    "array": [{"maxItems"}],
    "object": [{"maxProperties", "properties"}],
}
"""By JSON Schema's types: of each set, a value's schema must have a key."""


def unbounded(schema: Any, name: str = "") -> Iterator[str]:
    """Places in a JSON Schema whose values have no bound on one side."""
    if isinstance(schema, list):
        for entry in schema:
            yield from unbounded(entry, name)
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("type"), str):
        yield from (
            f"{name}: no {max(keys)}" for keys in BOUNDS.get(schema["type"], []) if not keys & set(schema)
        )
    for key, value in schema.items():
        yield from unbounded(value, f"{name}.{key}")


def test_everything_in_params_yaml_is_bounded() -> None:
    assert list(unbounded(json_schema()["$defs"])) == []


class Inner(Section):
    threads: int = Field(ge=1)


class Loose(Section):
    """One of each kind that is not bounded, among what is."""

    inner: Inner
    weight: float = Field(ge=0.0, le=1.0)
    rate: float | None = Field(gt=0.0)
    batches: Annotated[list[Annotated[int, Field(ge=1)]], Field(max_length=4)]
    names: list[Annotated[str, Field(max_length=9)]]
    path: str
    factors: dict[Annotated[str, Field(max_length=9)], Annotated[float, Field(le=1.0)]]


def test_each_kind_of_missing_bound_is_found() -> None:
    found = {
        place.removeprefix(".$defs.").replace(".properties", "")
        for place in unbounded(Loose.model_json_schema())
    }
    assert found == {
        "Inner.threads: no maximum",
        ".rate.anyOf: no maximum",
        ".batches.items: no maximum",
        ".names: no maxItems",
        ".path: no maxLength",
        ".factors: no properties",
        ".factors.additionalProperties: no minimum",
    }


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("resources", "threads_per_worker", 10**9),
        ("resources", "workers", 10**9),
        ("train", "epochs", 10**30),
        ("train", "grad_clip", float("inf")),
        ("train", "grad_clip", float("nan")),
        ("finetune", "patience", 10**30),
        ("data", "shard_rows", 2**64),
        ("data", "source", {"kind": "parquet", "path": "x" * 10_000, "image_column": "i", "raw_shape": None}),
        ("evaluate", "slices", ["brightness"] * 10),
        ("register", "min_speedup", 1e300),
    ],
)
def test_a_value_out_of_all_proportion_is_named(section: str, key: str, value: Any) -> None:
    values = read_yaml(ROOT / "presets/digits.yaml")
    values[section][key] = value
    with pytest.raises(ParamsError, match=f"params.yaml: {section}.{key}") as caught:
        check_values(values, "params.yaml")
    assert len(str(caught.value)) < 500
