"""The options of every `ray start` in infra/, as Ray's own command line takes them."""

import re
import shlex
from typing import Any

from ray.scripts.scripts import start


def options(command: str) -> dict[str, Any]:
    """What the `ray start` in this shell command would start with.

    Ray's parser raises on an option that it lacks.
    """
    found = re.search(r"ray start\b([^;&|]*)", command)
    assert found, f"no `ray start` in {command}"
    return parsed(shlex.split(found[1]))


def parsed(arguments: list[str]) -> dict[str, Any]:
    return dict(start.make_context("start", arguments).params)
