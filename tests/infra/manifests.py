"""Reads the deployment files, and checks Kubernetes manifests against the fields that the CRDs allow."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

INFRA = Path(__file__).resolve().parents[2] / "infra"
FIELDS = json.loads((Path(__file__).parent / "kuberay_fields.json").read_text())
QUANTITY = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(([KMGTPE]i)|[numkMGTPE]|([eE][+-]?\d+))?")
"""Kubernetes' own pattern."""
SCALARS: dict[str, type] = {"string": str, "integer": int, "boolean": bool}


def documents(path: Path) -> list[dict[str, Any]]:
    """The documents of a YAML file.

    A mapping that repeats a key is an error, which YAML's loader would pass over.
    """
    return list(yaml.load_all(path.read_text(), Loader=_UniqueKeys))


class _UniqueKeys(yaml.SafeLoader):
    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys = [key.value for key, _ in node.value]
        if len(keys) > len(set(keys)):
            raise yaml.composer.ComposerError(None, None, f"a key is repeated among {keys}", node.start_mark)
        return node


def problems(value: object, kind: str, path: str = "") -> Iterator[str]:
    """What is wrong with `value`, as `path: what`, where it should be of this type of kuberay_fields.json."""
    if kind.startswith("[]"):
        yield from _list(value, kind[2:], path)
    elif kind.startswith("map["):
        yield from _map(value, kind[4:-1], path)
    elif kind in FIELDS["types"]:
        yield from _object(value, FIELDS["types"][kind], path)
    elif kind in FIELDS["enums"]:
        if value not in FIELDS["enums"][kind]:
            yield f"{path}: {value!r} is none of {FIELDS['enums'][kind]}"
    elif not any(_is(value, one) for one in kind.split("|")):
        yield f"{path}: {value!r} is no {kind}"


def _object(value: object, described: dict[str, Any], path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is no object"
        return
    for name in described["required"]:
        if name not in value:
            yield f"{path}.{name}: missing"
    for name, inner in value.items():
        if name not in described["fields"]:
            yield f"{path}.{name}: unknown field"
        else:
            yield from problems(inner, described["fields"][name], f"{path}.{name}")


def _list(value: object, kind: str, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path}: {value!r} is no list"
        return
    for position, inner in enumerate(value):
        yield from problems(inner, kind, f"{path}[{position}]")


def _map(value: object, kind: str, path: str) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{path}: {value!r} is no object"
        return
    for name, inner in value.items():
        yield from problems(inner, kind, f"{path}.{name}")


def _is(value: object, kind: str) -> bool:
    if kind == "quantity":
        return _is(value, "integer") or (isinstance(value, str) and QUANTITY.fullmatch(value) is not None)
    if kind == "number":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, SCALARS[kind]) and (kind == "boolean" or not isinstance(value, bool))
