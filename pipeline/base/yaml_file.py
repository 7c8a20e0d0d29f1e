"""A YAML file as values: by the loader with which DVC reads params.yaml and dvc.yaml, within limits."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)

from pipeline.errors import ParamsError

LARGEST_FILE = 1_000_000
"""Characters of a YAML file that is read."""
DEEPEST = 50
"""Lists and mappings inside each other; the loader's own stack ends at some thousands, with the process."""
MOST_VALUES = 100_000
"""Values in one file, counting what its aliases repeat: nine lines of nine aliases each are 400 million."""
HUGE = re.compile(r"[-+]?0[xob][0-9a-fA-F_]{1000}")
"""A number that Python reads, but refuses to print."""


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file whose top level is a mapping.

    Raises ParamsError if it is missing, malformed or too large.
    """
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LARGEST_FILE + 1)
    except FileNotFoundError as error:
        raise ParamsError(f"{path} does not exist; run from the project's folder") from error
    except UnicodeDecodeError as error:
        raise ParamsError(f"{path}: not UTF-8 ({error.reason}); save it in that encoding") from error
    except OSError as error:
        raise ParamsError(f"{path} cannot be read: {error.strerror}") from error
    value = parse_yaml(text, str(path))
    if not isinstance(value, dict):
        found = "nothing" if value is None else type(value).__name__
        raise ParamsError(f"{path}: expected sections (`name:` and indented keys), found {found}")
    return value


def parse_yaml(text: str, name: str) -> Any:
    """The value of a YAML 1.2 document, by the loader with which DVC reads params.yaml and dvc.yaml.

    name: what an error calls the text. Raises ParamsError: malformed, a key written twice, a tag, or beyond
    the limits above.
    """
    if len(text) > LARGEST_FILE:
        raise ParamsError(f"{name}: longer than {LARGEST_FILE:,} characters; it holds parameters, not data")
    try:
        _check_outline(YAML(typ="safe").parse(text), name)
        return YAML(typ="safe").load(text)
    except YAMLError as error:
        raise ParamsError(f"{name}: not valid YAML: {_problem(error)}") from error
    except ValueError as error:
        line = next(line for line, plain in _plain_scalars(text) if not _is_readable(plain))
        raise ParamsError(
            f"{name}: line {line} looks like a number or date, but is none; put text in quotes"
        ) from error


def _problem(error: YAMLError) -> str:
    """What is wrong on which line, without ruamel's advice and without a value, which may be a secret."""
    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    said = ", ".join(words for words in (error.context, error.problem) if words)
    return f"line {error.problem_mark.line + 1}: {said.partition(' with value ')[0]}"


def _plain_scalars(text: str) -> Iterator[tuple[int, str]]:
    """Values without quotes, each with its line."""
    for event in YAML(typ="safe").parse(text):
        if isinstance(event, ScalarEvent) and event.implicit[0]:
            yield event.start_mark.line + 1, event.value


def _is_readable(plain: str) -> bool:
    try:
        YAML(typ="safe").load(plain)
    except ValueError:
        return False
    return True


@dataclass
class _Collection:
    """A list or mapping whose end is not read yet.

    keys: those of a mapping. size: values in it, an alias counting as all that it stands for.
    """

    anchor: str | None = None
    keys: set[str] | None = None
    at_key: bool = True
    size: int = 1

    def take(self, event: NodeEvent, where: str) -> None:
        """Follow keys and values by turns.

        Raises ParamsError for a key that is no word, or is there already.
        """
        if self.keys is None:
            return
        if self.at_key:
            if not isinstance(event, ScalarEvent):
                raise ParamsError(f"{where}: a key must be a word, not a list, a mapping or an alias")
            if event.value in self.keys:
                raise ParamsError(f"{where}: key {event.value!r} is written twice; keep one")
            self.keys.add(event.value)
        self.at_key = not self.at_key


def _check_outline(events: Iterable[Event], name: str) -> None:
    """Raises ParamsError for what the loader dies of (depth, aliases that multiply), and what it overlooks.

    That is tags, and keys written twice in a mapping with `<<`.
    """
    around = [_Collection()]
    sizes: dict[str, int] = {}
    for event in events:
        where = f"{name}: line {event.start_mark.line + 1}"
        if isinstance(event, NodeEvent):
            around[-1].take(event, where)
            around[-1].size += _size(event, around, sizes, where)
        if isinstance(event, CollectionStartEvent):
            around.append(_Collection(event.anchor, set() if isinstance(event, MappingStartEvent) else None))
        elif isinstance(event, CollectionEndEvent):
            done = around.pop()
            around[-1].size += done.size
            if done.anchor:
                sizes[done.anchor] = done.size
        if len(around) > DEEPEST:
            raise ParamsError(f"{where}: nested deeper than {DEEPEST} levels; keep it flat")
        if around[-1].size > MOST_VALUES:
            raise ParamsError(
                f"{where}: more than {MOST_VALUES:,} values, with what aliases repeat; write fewer"
            )


def _size(event: NodeEvent, around: list[_Collection], sizes: dict[str, int], where: str) -> int:
    """Values that an event adds by itself. Raises ParamsError for a tag, and an alias of what it is in."""
    if isinstance(event, AliasEvent):
        if event.anchor in {collection.anchor for collection in around}:
            raise ParamsError(f"{where}: *{event.anchor} stands for what it is in, without an end; remove it")
        return sizes.get(event.anchor, 1)
    if isinstance(event, ScalarEvent | CollectionStartEvent) and event.tag is not None:
        raise ParamsError(f"{where}: {event.tag} is a tag, which is not read here; write the value alone")
    if not isinstance(event, ScalarEvent):
        return 0
    if HUGE.match(event.value):
        raise ParamsError(f"{where}: a number of more than 1,000 digits; write a smaller one")
    return 1
