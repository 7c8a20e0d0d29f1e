"""The project's import graph, read from the source: what a file imports anywhere in it, also inside functions."""

import ast
from collections.abc import Iterator
from pathlib import Path

EXEMPT = {
    "pipeline/errors.py",  # messages
    "pipeline/entry.py",  # checks, then calls the stage
    "pipeline/ending.py",  # messages
    "pipeline/environment.py",  # takes away what would change one
    "pipeline/schema.py",  # can only stop a stage
    "pipeline/leftovers.py",  # the same, and where temporary files lie
    "pipeline/tracking/records.py",  # sends what was already computed, as do the next six
    "pipeline/tracking/answers.py",
    "pipeline/tracking/local.py",
    "pipeline/tracking/runs.py",
    "pipeline/tracking/delivery.py",
    "pipeline/tracking/courier.py",
    "pipeline/tracking/store.py",
    "pipeline/report.py",  # writes the journal, which is no out
    "pipeline/progress.py",  # the live line
    "pipeline/watch.py",  # can only end a worker, which starts again
    "pipeline/check/",  # can only stop a stage
    "pipeline/job_server.py",  # sends a job, and shows what it says
}
"""Files and packages that cannot change an out: no stage depends on them, and what they import is not followed."""

LAYERS = {
    "environment": 0,
    "errors": 0,
    "files": 1,
    "ending": 2,
    "params": 1,
    "drawing": 1,
    "jsonfile": 1,
    "dist": 1,
    "seal": 2,
    "stage": 2,
    "report": 2,
    "progress": 2,
    "resources": 2,
    "storage": 2,
    "watch": 2,
    "submission": 2,
    "site_cache": 3,
    "machine": 3,
    "leftovers": 3,
    "data": 3,
    "models": 3,
    "tasks": 3,
    "train": 4,
    "compress": 4,
    "evaluate": 5,
    "autoscaler": 3,
    "compare": 6,
    "check": 6,
    "worker": 5,
    "cluster": 6,
    "job_server": 6,
    "attached": 7,
    "driver": 8,
    "tracking": 6,
    "registry": 7,
    "iterative": 5,
    "summary": 8,
    "schema": 8,
    "pretrained": 8,
    "repro": 8,
    "jobs": 9,
    "entry": 9,
    "verify": 9,
    "doctor": 10,
    "frontier": 11,
    "cli": 12,
}
"""Modules and packages directly under pipeline/. A module imports its own package or a lower layer."""

DOORS = {
    "ray": {"pipeline/autoscaler.py", "pipeline/cluster.py", "pipeline/worker.py", "pipeline/job_server.py"},
    "mlflow": {
        "pipeline/tracking/answers.py",
        "pipeline/tracking/local.py",
        "pipeline/tracking/store.py",
        "pipeline/registry/register.py",
        "pipeline/registry/serving_model.py",
        "pipeline/registry/weights.py",
    },
    "dvc": {"pipeline/jobs/remote.py", "pipeline/repro/dag.py", "pipeline/verify/named.py"},
    "pyarrow": {"pipeline/data/"},
}
"""Which files, or files under which folder, may import a package."""


COPIED = {"pipeline/registry/register.py": {"pipeline/registry/serving_model.py"}}
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
    candidates = (name.replace(".", "/") + ".py" for name in imported_names(file) if name.startswith(("pipeline", "stages")))
    return {path for path in candidates if (root / path).exists()}


def closure(root: Path, start: str) -> set[str]:
    """Every file that `start` needs, itself included, without the exempt ones and what only they need."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path in found or path in EXEMPT or f"{Path(path).parent.as_posix()}/" in EXEMPT:
            continue
        found.add(path)
        waiting.extend(imported_files(root, root / path) | COPIED.get(path, set()))
    return found


def folded(root: Path, files: set[str]) -> set[str]:
    """`files`, with the outermost folders that hold nothing else, but for package markers, in their files' place."""
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
            if not any(path == door or (door.endswith("/") and path.startswith(door)) for door in DOORS[package]):
                faults.append(f"{path} imports {package}; only {', '.join(sorted(DOORS[package]))} may")
    return faults


def _files_below(root: Path, folder: Path) -> set[str]:
    """What DVC hashes of a folder, without package markers, which hold no code."""
    files = (path for path in (root / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(root).as_posix() for path in files if path.name != "__init__.py"}


def _unit(path: str) -> str:
    """The module or package directly under pipeline/ that a file belongs to."""
    return Path(path).parts[1].removesuffix(".py")
