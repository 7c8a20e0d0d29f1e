"""The commands that messages of this project name, read from its source: what stands in backticks there,
outside docstrings.
"""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("dvc", "espalier", "make", "git", "ray")
VALUE = "core.value"
"""In the place of what a message fills in when it is made; DVC takes only settings with a point in their
name."""


def remedies(root: Path) -> Iterator[tuple[str, str]]:
    """Every command that a message names, each with the file that says so."""
    for file in sorted([*(root / "pipeline").rglob("*.py"), *(root / "stages").rglob("*.py")]):
        for text in _texts(ast.parse(file.read_text(encoding="utf-8"))):
            for command in re.findall(r"`([^`]+)`", text):
                if command.split()[0] in PROGRAMS:
                    yield file.relative_to(root).as_posix(), command


def named(text: str) -> list[list[str]]:
    """The words of each command that a message names."""
    return [
        shlex.split(command) for command in re.findall(r"`([^`]+)`", text) if command.split()[0] in PROGRAMS
    ]


def _texts(tree: ast.AST) -> Iterator[str]:
    """Texts of a module with VALUE for what is filled in; docstrings, and the parts of a text alone, are left
    out.
    """
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            skipped |= {id(part) for part in node.values}
            yield "".join(
                str(part.value) if isinstance(part, ast.Constant) else VALUE for part in node.values
            )
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value
