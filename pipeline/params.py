"""A section of params.yaml becomes a frozen model; a wrong key or value becomes one clear error."""

import difflib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import ParamsError


class Section(BaseModel):
    """Base of every params model: immutable, no type coercion, no unknown keys, every key written out.

    Fields carry a description with their unit, and their bounds; there are no defaults, so that
    params.yaml shows everything that decides a result.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)


SectionT = TypeVar("SectionT", bound=Section)


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe loader, but a key written twice is an error instead of the last one winning."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise ParamsError(f"params.yaml: key {key!r} is written twice near line {node.start_mark.line + 1}; keep one")
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file whose top level is a mapping. Raises ParamsError where it is missing or malformed."""
    try:
        value = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except FileNotFoundError as error:
        raise ParamsError(f"{path} does not exist; run from the project's folder") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(value, dict):
        raise ParamsError(f"{path}: expected sections (`name:` and indented keys), found {type(value).__name__}")
    return value


def parse_section(name: str, values: Any, model: type[SectionT], *, file: str = "params.yaml") -> SectionT:
    """Check one section against its model. Raises ParamsError that names each wrong key, its value and the cure."""
    try:
        return model.model_validate(values if values is not None else {})
    except ValidationError as error:
        problems = [_explain(name, problem, model) for problem in error.errors()]
        raise ParamsError("\n".join(f"{file}: {problem}" for problem in problems)) from error


def nearest(word: str, choices: list[str]) -> str:
    """The words ", did you mean 'x'?" for the choice most like `word`, else a list of all choices."""
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(sorted(choices))}"


def _explain(section: str, problem: Any, model: type[BaseModel]) -> str:
    location = [str(part) for part in problem["loc"]]
    key = ".".join([section, *location])
    if problem["type"] == "extra_forbidden":
        siblings = _keys_at(model, location[:-1])
        return f"unknown key {key!r}{nearest(location[-1], siblings)}"
    if problem["type"] == "missing":
        return f"key {key!r} is missing; add it"
    message = problem["msg"][0].lower() + problem["msg"][1:]
    if problem["type"] == "value_error":
        return f"{key}: {message.removeprefix('value error, ')}"
    return f"{key} is {problem['input']!r}, but {message}"


def _keys_at(model: type[BaseModel], location: list[str]) -> list[str]:
    """Field names of the model nested at `location`."""
    for part in location:
        field = model.model_fields.get(part)
        nested = field.annotation if field else None
        if not (isinstance(nested, type) and issubclass(nested, BaseModel)):
            return []
        model = nested
    return list(model.model_fields)
