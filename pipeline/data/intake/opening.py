"""A source opened for what params.yaml wants of it: its columns and classes are checked before any row."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.base.params import nearest
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.source import CLASSES, Source
from pipeline.data.intake.targets.target import AnyTarget
from pipeline.errors import DataError

SLICE_KINDS = ("integers", "names")


@contextmanager
def open_source(params: DataParams, path: Path) -> Iterator[Source]:
    """The source at `path`; its pieces can be read during the block.

    Raises DataError: nothing at the path, a file that cannot be read or is of another kind, a column that is
    missing or of a wrong type, a malformed classes.json.
    """
    with tempfile.TemporaryDirectory(prefix="source-") as scratch:
        try:
            source = params.source.open(path, params.columns, Path(scratch))
        except OSError as error:
            raise DataError(
                f"{error.filename or path}: cannot be read ({error.strerror}); mend it, or change "
                "data.source.path"
            ) from error
        _check_columns(source, params)
        known = {name: source.classes[name] for name in params.columns if name in source.classes}
        yield replace(source, classes=known | given_classes(source, params.targets))


def _check_columns(source: Source, params: DataParams) -> None:
    """Whether all columns are there, and hold what targets and slices can be made of."""
    for name, target in params.targets.items():
        for column in target.names:
            kind = _kind(source, f"targets.{name}", column)
            if kind not in target.kinds:
                raise DataError(f"{source.name}: column {column!r} holds {kind}; {target.wanted}")
    if params.split.column:
        kind = _kind(source, "split.column", params.split.column)
        if not kind.startswith(params.split.kinds):
            raise DataError(
                f"{source.name}: column {params.split.column!r} (data.split.column) holds {kind}; to split "
                f"by {params.split.by} it must hold {' or '.join(params.split.kinds)}"
            )
    for column in params.slice_columns:
        kind = _kind(source, "slice_columns", column)
        if kind not in SLICE_KINDS:
            raise DataError(
                f"{source.name}: column {column!r} (data.slice_columns) holds {kind}; it must hold strings "
                "or integers"
            )


def _kind(source: Source, key: str, column: str) -> str:
    if column not in source.columns:
        known = nearest(column, list(source.columns))
        raise DataError(f"{source.name}: no column {column!r} (data.{key}){known}")
    return source.columns[column]


def given_classes(source: Source, targets: Mapping[str, AnyTarget]) -> dict[str, list[str]]:
    """Class names in classes.json, by column: a list is of the only target that has classes."""
    if source.classes_json is None:
        return {}
    path = f"{source.name}/{CLASSES}"
    try:
        found = json.loads(source.classes_json)
        json.dumps(found, ensure_ascii=False).encode()  # no lone surrogates, which JSON can hold
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); write a list of class names") from error
    known = [name for name, target in targets.items() if target.field != "number"]
    if isinstance(found, dict):
        if strange := [name for name in found if name not in known]:
            raise DataError(f"{path}: no target {strange[0]!r} with classes{nearest(strange[0], known)}")
        return {targets[name].names[0]: _names(path, names) for name, names in found.items()}
    if len(known) != 1:
        raise DataError(
            f'{path}: a list, but {len(known)} targets have classes; write {{"target": [names], ...}}'
        )
    return {targets[known[0]].names[0]: _names(path, found)}


def _names(path: str, names: Any) -> list[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise DataError(f'{path}: expected a list of class names such as ["cat", "dog"]')
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: class {twice[0]!r} is listed twice; give every class its own name")
    return names
