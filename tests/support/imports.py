"""The project's import graph, read from the source: what a file imports anywhere in it, also inside
functions.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

EXEMPT = {
    "pipeline/errors.py",  # messages
    "pipeline/entry.py",  # checks, then calls the stage
    "pipeline/schema.py",  # can only stop a stage
    "pipeline/watchdog.py",  # can only end a worker, which starts again
    "pipeline/job_server.py",  # sends a job, and shows what it says
    "pipeline/process/",  # how a process starts and ends, and where its temporary files lie
    "pipeline/check/",  # can only stop a stage
    "pipeline/tracking/",  # the journal, which is no out, and its way to MLflow
}
"""Files and packages that cannot change an out: no stage depends on them, and what they import is not
followed."""

LAYERS = {
    "errors": 0,
    "watchdog": 0,
    "git": 1,
    "base": 1,
    "drawing": 1,
    "job_server": 1,
    "storage": 2,
    "images": 2,
    "process": 2,
    "data": 3,
    "models": 3,
    "tasks": 4,
    "tracking": 5,
    "export": 5,
    "train": 6,
    "quantize": 6,
    "evaluate": 6,
    "launch": 7,
    "compare": 7,
    "prune": 8,
    "repro": 8,
    "registry": 9,
    "profile": 9,
    "pretrained": 9,
    "summary": 10,
    "schema": 10,
    "check": 10,
    "entry": 11,
    "init": 11,
    "jobs": 11,
    "verify": 11,
    "doctor": 12,
    "frontier": 13,
    "commands": 14,
    "cli": 15,
}
"""Modules and packages directly under pipeline/. A module imports its own package or a lower layer."""

DOORS = {
    "ray": {"pipeline/launch/", "pipeline/job_server.py"},
    "mlflow": {
        "pipeline/tracking/answers.py",
        "pipeline/tracking/local.py",
        "pipeline/tracking/store.py",
        "pipeline/registry/served.py",
        "pipeline/tasks/serving/model.py",
        "pipeline/pretrained/registered.py",
    },
    "dvc": {"pipeline/jobs/remote.py", "pipeline/repro/dag.py", "pipeline/verify/named.py"},
    "pyarrow": {"pipeline/data/"},
}
"""Which files, or files under which folder, may import a package."""


ONLY_RUNS = {"pipeline/launch/"}
"""Packages that say where and how something runs, and so can change no out, but whose imports are what runs.
"""

COPIED = {
    "pipeline/tasks/serving/serving.py": {"pipeline/tasks/serving/model.py"},
    **{
        f"pipeline/tasks/serving/{kind}.py": {f"pipeline/tasks/serving/{kind}_answer.py"}
        for kind in ("classification", "multilabel", "regression")
    },
}
"""Files that a module copies into what it makes instead of importing them."""


def imported_names(file: Path) -> Iterator[str]:
    """Dotted names that a file imports; `from a.b import c` gives a.b and a.b.c."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import; this project imports by full name"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_files(root: Path, file: Path) -> set[str]:
    """The project's own modules that a file imports, as paths below `root`, package markers left out."""
    candidates = (
        name.replace(".", "/") + ".py"
        for name in imported_names(file)
        if name.startswith(("pipeline", "stages"))
    )
    return {path for path in candidates if (root / path).exists()}


def closure(root: Path, start: str) -> set[str]:
    """Every file that can change what `start` makes, itself included: without the exempt ones and what only
    they need.
    """
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in seen or path in EXEMPT or f"{Path(path).parent.as_posix()}/" in EXEMPT:
            continue
        seen.add(path)
        if f"{Path(path).parent.as_posix()}/" not in ONLY_RUNS:
            found.add(path)
        waiting.extend(imported_files(root, root / path) | COPIED.get(path, set()))
    return found


def folded(root: Path, files: set[str]) -> set[str]:
    """`files`, with the outermost folders that hold nothing else, but for package markers, in their files'
    place.
    """
    folders = {parent for file in files for parent in Path(file).parents} - {Path()}
    whole = {folder for folder in folders if _files_below(root, folder) <= files}
    outermost = {folder for folder in whole if not whole.intersection(folder.parents)}
    loose = {file for file in files if not whole.intersection(Path(file).parents)}
    return loose | {folder.as_posix() for folder in outermost}


def layer_faults(root: Path) -> list[str]:
    """Imports from a higher layer, or from a sibling of the same layer."""
    faults = []
    for file in sorted((root / "pipeline").rglob("*.py")):
        path = file.relative_to(root).as_posix()
        unit = _unit(path)
        if unit == "__init__":
            continue
        for other in sorted(imported_files(root, file)):
            target = _unit(other)
            if target != unit and LAYERS[target] >= LAYERS[unit]:
                faults.append(f"{path} (layer {LAYERS[unit]}) imports {other} (layer {LAYERS[target]})")
    return faults


def door_faults(root: Path) -> list[str]:
    """Imports of a guarded package outside its door."""
    faults = []
    for file in sorted([*(root / "pipeline").rglob("*.py"), *(root / "stages").rglob("*.py")]):
        path = file.relative_to(root).as_posix()
        for package in sorted({name.split(".")[0] for name in imported_names(file)} & set(DOORS)):
            if not any(
                path == door or (door.endswith("/") and path.startswith(door)) for door in DOORS[package]
            ):
                faults.append(f"{path} imports {package}; only {', '.join(sorted(DOORS[package]))} may")
    return faults


def _files_below(root: Path, folder: Path) -> set[str]:
    """What DVC hashes of a folder, without package markers, which hold no code."""
    files = (
        path for path in (root / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
    return {path.relative_to(root).as_posix() for path in files if path.name != "__init__.py"}


def _unit(path: str) -> str:
    """The module or package directly under pipeline/ that a file belongs to."""
    return Path(path).parts[1].removesuffix(".py")
