"""Tests patch nothing of ours: what a test must replace is an argument of what it tests."""

import ast
from collections import Counter
from pathlib import Path

from tests.support.places import ROOT

OURS = ("pipeline", "stages", "infra", "benchmarks")
PATCHING = {"setattr", "delattr", "setitem", "delitem", "patch", "object", "dict"}
"""Methods of pytest's monkeypatch, and unittest's `patch`, `patch.object` and `patch.dict`."""
EXCEPTIONS = {
    # Twins: the same test without a protection, which no argument may take away.
    "stages/test_exactness.py": 4,
    "stages/test_killed_process.py": 3,
    "unit/train/test_job.py": 1,
    # Not arguments yet.
    "gpu/test_gpu.py": 1,
    "unit/images/test_decode.py": 1,
    "unit/data/prepared/test_shards.py": 1,
    "unit/doctor/test_examine.py": 1,
    "unit/launch/test_remote_driver.py": 1,
    "unit/launch/test_resources.py": 2,
    "unit/tracking/test_store.py": 1,
    "unit/train/checkpoints/test_saver.py": 1,
}
"""Patches of our modules by file. This list only shrinks."""


def patches(text: str) -> list[int]:
    """Lines of a test file that replace something in a module or class of ours."""
    tree = ast.parse(text)
    ours = {
        alias.asname or alias.name.partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if (node.module or "" if isinstance(node, ast.ImportFrom) else alias.name).partition(".")[0] in OURS
    }
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and node.args and _name(node.func) in PATCHING
        if _is_ours(node.args[0], ours)
    ]


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _is_ours(target: ast.expr, ours: set[str]) -> bool:
    if isinstance(target, ast.Constant):
        return str(target.value).partition(".")[0] in OURS
    while isinstance(target, ast.Attribute):
        target = target.value
    return isinstance(target, ast.Name) and target.id in ours


def test_tests_patch_nothing_of_ours() -> None:
    tests = ROOT / "tests"
    found = Counter(
        {
            path.relative_to(tests).as_posix(): len(patches(path.read_text(encoding="utf-8")))
            for path in tests.rglob("*.py")
        }
    )
    assert {name: number for name, number in found.items() if number} == EXCEPTIONS


def test_each_way_of_patching_is_seen() -> None:
    text = """
import pipeline.train.loop
from pipeline.train import loop as module
from pipeline.storage import Storage
import torch
monkeypatch.setattr("pipeline.train.loop.fit", 1)
monkeypatch.setattr(module, "fit", 1)
monkeypatch.delitem(pipeline.train.loop.TABLE, "x")
patch.object(Storage, "read", 1)
patch("stages.train.launch", 1)
setattr(module, "fit", 1)
monkeypatch.setattr(torch, "zeros", 1)
monkeypatch.setenv("pipeline", "1")
"""
    assert patches(text) == [6, 7, 8, 9, 10, 11]


def test_no_file_of_the_list_is_gone() -> None:
    assert [name for name in EXCEPTIONS if not Path(ROOT / "tests" / name).exists()] == []
