"""The check of a project, once for the same inputs: `espalier check`, and the first stage that computes.

It runs in a process of its own, because torch must not be touched in one whose stage is about to begin.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.base.files import sha256_json, sha256_tree, write_atomic
from pipeline.base.stage import KEY_DIGITS, PREPARED_DATA, STATE_FOLDER
from pipeline.base.yaml_file import read_yaml
from pipeline.errors import EspalierError, ParamsError
from pipeline.process.leftovers import scratch

CHECKED_FOLDER = f"{STATE_FOLDER}/checked"
TRIED_SECTIONS = ("data", "model", "task", "train", "prune", "finetune", "quantize")
"""Sections on which the trial depends; of `resources` only the number of workers counts: it cuts batches."""
IMPORT_ROOT = Path(__file__).parents[2]
BROUGHT = ("data/init/weights.safetensors", "data/teacher/model.json")
"""Files that are no stage's out, and large: their size and time stand for their content."""
STAGES_CHECKED_BEFORE = {"train", "profile", "prune", "finetune"}
"""Stages that need a passed check before they start; what comes after them trains nothing."""
LONG_BYTES = 100_000_000
"""Raw data from which on preparing them takes longer than the check, which then comes before it too."""


def check_before(stage: str, root: Path, look: Callable[..., list[list[str]]] | None = None) -> None:
    """Check the project before a stage that would compute for long, unless that was done. look: finds the
    problems, by itself problems().

    Raises ParamsError.
    """
    values = read_yaml(root / "params.yaml")
    if stage not in STAGES_CHECKED_BEFORE and not (
        stage == "prepare" and _bytes(root / values["data"]["source"]["path"]) > LONG_BYTES
    ):
        return
    done = root / CHECKED_FOLDER / _digest(root, values)
    if done.exists():
        return
    try:
        refuse((look or problems)(root, [values])[0])
    except ParamsError:
        raise
    except EspalierError as error:
        sys.stderr.write(f"espalier {stage}: {error}; the stage goes on\n")
    write_atomic(done, "")


def check(root: Path) -> str:
    """Check the project now.

    Returns what to say. Raises ParamsError with all that cannot work, EspalierError.
    """
    values = read_yaml(root / "params.yaml")
    refuse(problems(root, [values])[0])
    write_atomic(root / CHECKED_FOLDER / _digest(root, values), "")
    known = (
        "with the prepared data"
        if _manifest(root).exists()
        else "without data; once they are prepared, with them too"
    )
    return f"nothing is known that would stop a stage (looked at {known})"


def check_elsewhere(root: Path, params: Sequence[Mapping[str, Any]]) -> None:
    """Check before stages are started that this process does not see, or on other machines.

    Raises as check_before().
    """
    try:
        found = problems(root, params, here=False)
    except EspalierError as error:
        sys.stderr.write(f"espalier: {error}; what was asked for goes on\n")
        return
    refuse([problem for each in found for problem in each])


def refuse(found: Sequence[str]) -> None:
    """Raises ParamsError if there are problems, with all of them."""
    if found:
        raise ParamsError(
            "params.yaml asks for what cannot work:\n"
            + "\n".join(f"  {problem}" for problem in dict.fromkeys(found))
        )


def problems(root: Path, params: Sequence[Mapping[str, Any]], *, here: bool = True) -> list[list[str]]:
    """What cannot work of each of several params files, each problem with its section first.

    here: the stages will run on this machine, whose devices are then looked at too. Raises EspalierError if
    that cannot be found out.
    """
    command = [
        sys.executable,
        "-m",
        "pipeline.check.tried",
        str(root.absolute()),
        "here" if here else "elsewhere",
    ]
    with scratch(root, "check") as folder:
        # One thread, as several would wait for each other: all is small.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder.absolute())}
        done = subprocess.run(
            command,
            input=json.dumps(params),
            capture_output=True,
            text=True,
            check=False,
            cwd=IMPORT_ROOT,
            env=environment,
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise EspalierError(f"what would stop a later stage could not be found out ({last})")
    found: list[list[str]] = json.loads(done.stdout.splitlines()[-1])
    return found


def _digest(root: Path, values: Mapping[str, Any]) -> str:
    manifest = _manifest(root)
    brought = [(root / path).stat() for path in BROUGHT if (root / path).exists()]
    inputs = {
        "params": {name: values[name] for name in TRIED_SECTIONS},
        "workers": values["resources"]["workers"],
        "manifest": sha256_tree(manifest) if manifest.exists() else None,
        "brought": [[stat.st_size, stat.st_mtime_ns] for stat in brought],
        "code": sha256_tree(IMPORT_ROOT / "pipeline"),
    }
    return sha256_json(inputs)[:KEY_DIGITS]


def _manifest(root: Path) -> Path:
    return root / PREPARED_DATA / "manifest.json"


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
