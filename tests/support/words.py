"""Names and docstrings of the code: public names of several modules, and words that we do not use."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

HEADLESS = re.compile(
    r"(Of|Those|The same|As|Whom|In|On|At|By|For|From|To|With|Without|Until|After|Before|Also|Only)\b"
)
"""Words that begin a docstring whose noun or verb is missing."""
WORDS = {
    "where, for if": re.compile(r"\bRaises? [^.(]* where\b|\b(None|True|False|empty|none|nothing) where\b"),
    "hangs on, for depends on": re.compile(r"\bhangs? on\b"),
}
"""Words that mean something else to everybody, by what they stand for."""


def shared_names(root: Path) -> dict[str, list[str]]:
    """Public classes, functions and constants that several modules define, each with these modules."""
    modules = defaultdict(list)
    for file in _files(root, "pipeline"):
        for name in {name for node in _parsed(file).body for name in _defined(node)}:
            if not name.startswith("_"):
                modules[name].append(file.relative_to(root).as_posix())
    return {name: found for name, found in modules.items() if len(found) > 1}


def joint_assignments(root: Path) -> list[str]:
    """Lines at the top of a module that define several constants at once."""
    return [
        f"{file.relative_to(root).as_posix()}:{node.lineno}"
        for file in _files(root, "pipeline", "stages")
        for node in _parsed(file).body
        if isinstance(node, ast.Assign) and len(list(_defined(node))) > 1
    ]


def word_faults(root: Path) -> list[str]:
    """Docstrings that begin without a noun or verb, or use a word of WORDS, each with its place."""
    return [
        f"{file.relative_to(root).as_posix()}:{line}: {fault}: {text}"
        for file in _files(root, "pipeline", "stages")
        for line, text in _docstrings(_parsed(file))
        for fault in _faults(text)
    ]


def _faults(text: str) -> Iterator[str]:
    if HEADLESS.match(text):
        yield "no noun or verb"
    for fault, pattern in WORDS.items():
        if pattern.search(text):
            yield fault


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Texts that stand alone, below a function, a class or a constant, with single spaces."""
    for node in ast.walk(tree):
        match node:
            case ast.Expr(value=ast.Constant(value=str(text))):
                yield node.lineno, " ".join(text.split())


def _defined(node: ast.stmt) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            yield name
        case ast.AnnAssign(target=ast.Name(id=name)):
            yield name
        case ast.Assign(targets=targets):
            for target in targets:
                yield from (each.id for each in ast.walk(target) if isinstance(each, ast.Name))


def _files(root: Path, *folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (root / folder).rglob("*.py"))


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))
