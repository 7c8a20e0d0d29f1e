"""`espalier promote`: a person makes a version the champion; the registry keeps the one before, and why."""

import math
import re
from pathlib import Path
from typing import Any

from pipeline.base.files import locked
from pipeline.base.params import parse_section
from pipeline.base.yaml_file import read_yaml
from pipeline.errors import EspalierError, GateError
from pipeline.registry.champion import CANDIDATE, GATES_TAG, PASSED, RegisteredModel, move
from pipeline.registry.params import RegisterParams
from pipeline.registry.register import lock_path
from pipeline.tracking.answers import mlflow_errors, settled
from pipeline.tracking.store import KEY_TAG, connect

URI = re.compile(r"models:/([A-Za-z0-9_.-]+)(?:/([0-9]+)|@([A-Za-z0-9_.-]+))")
FIGURES = {"score": "score", "latency_ms": "ms", "size_bytes": "bytes", "macs": "MACs"}
"""Tags of a version that are shown, and what to call them."""


def promote(root: Path, uri: str | None, reason: str | None) -> str:
    """Make a version the champion; what it and the one before it are worth, as text.

    uri: models:/<name>/<version> or models:/<name>@<alias>; None for the candidate of `register.model_name`.
    Raises EspalierError if there is no such version, GateError if it may not be champion, UnreachableError.
    """
    name, wanted = _parsed(root, uri)
    store = connect(root)
    with locked(lock_path(root), wait_s=math.inf, what="the tracking database"), mlflow_errors(store.uri):
        return settled(store.uri, lambda: _promoted(store.client, name, wanted, reason))


def _promoted(client: Any, name: str, wanted: str, reason: str | None) -> str:
    model = RegisteredModel.read(client, name)
    if model is None:
        raise EspalierError(f"no model is registered as {name}; `make repro` registers one")
    version = model.aliases.get(wanted) if not wanted.isdecimal() else int(wanted)
    _check(model, wanted, version)
    assert version is not None
    if version == model.champion:
        return f"version {version} of {name} is the champion already"
    shown = {
        number: f"version {number}: {_figures(model.versions[number].tags)}"
        for number in (model.champion, version)
        if number
    }
    old = shown[model.champion] if model.champion else "none"
    record = move(client, model, version, "promote", reason or f"{shown[version]}; before, {old}")
    return f"before  {old}\nnow     {shown[version]}\n{record}"


def _check(model: RegisteredModel, wanted: str, version: int | None) -> None:
    """Raises EspalierError if there is no such version, GateError if it may not be champion."""
    if version is None:
        raise EspalierError(f"{model.name} has no alias {wanted}; name a version, as models:/{model.name}/3")
    if version not in model.versions:
        known = ", ".join(map(str, sorted(model.versions)))
        raise EspalierError(f"{model.name} has no version {version}, only {known or 'none'}")
    tags = model.versions[version].tags
    if KEY_TAG not in tags:
        raise GateError(
            f"version {version} of {model.name} was not made by Espalier, so nothing is known of what it is "
            "worth"
        )
    if tags.get(GATES_TAG) != PASSED:
        raise GateError(
            f"version {version} of {model.name} ({tags.get('variant', '?')}) has not passed the gates, which "
            "judge the candidate alone; a fine-tuned one is judged by `register.candidate: finetuned` and "
            "`make repro`"
        )


def _parsed(root: Path, uri: str | None) -> tuple[str, str]:
    """The model's name, and a version's number or an alias."""
    if uri is None:
        params = parse_section("register", read_yaml(root / "params.yaml").get("register"), RegisterParams)
        return params.model_name, CANDIDATE
    match = URI.fullmatch(uri)
    if match is None:
        raise EspalierError(
            f"{uri!r} is no version; write models:/<name>/<version> or models:/<name>@<alias>"
        )
    return match[1], match[2] or match[3]


def _figures(tags: dict[str, str]) -> str:
    """What is known of a version, and where its time was measured."""
    parts = [f"{name} {tags[tag]}" for tag, name in FIGURES.items() if tag in tags]
    return ", ".join([tags.get("variant", "?"), *parts]) + (
        f" on {tags['measured_on']}" if "measured_on" in tags else ""
    )
