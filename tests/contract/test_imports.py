"""Imports point one way, each big dependency has one door, and importing a package does nothing."""

import ast
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.imports import LAYERS, door_faults, imported_names, layer_faults

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for folder in ("pipeline", "stages"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_every_module_has_a_layer() -> None:
    units = {
        path.stem
        for path in (ROOT / "pipeline").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert units - {"__init__"} == set(LAYERS)


def test_the_map_in_the_package_names_every_module() -> None:
    text = (ROOT / "pipeline" / "__init__.py").read_text()
    missing = [unit for unit in LAYERS if f"{unit}.py" not in text and f"{unit}/" not in text]
    assert missing == []


def test_imports_point_to_lower_layers() -> None:
    assert layer_faults(ROOT) == []


def test_guarded_packages_are_imported_at_their_door_alone() -> None:
    assert door_faults(ROOT) == []


@pytest.mark.parametrize(
    "package",
    sorted(
        path.parent.relative_to(ROOT).as_posix()
        for path in ROOT.glob("*/**/__init__.py")
        if ".venv" not in path.parts
    ),
)
def test_package_markers_hold_no_code(package: str) -> None:
    body = ast.parse((ROOT / package / "__init__.py").read_text()).body
    assert all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body)


def first_imports(root: Path) -> dict[str, str]:
    """Of each file that starts as a process, or is loaded into one of Ray's: the first that is not Python's
    own or psutil.
    """
    files = [
        *(root / "stages").glob("[a-z]*.py"),
        root / "pipeline/cli.py",
        root / "pipeline/launch/worker.py",
    ]
    files += [
        path for path in (root / "pipeline").rglob("*.py") if "__main__" in path.read_text(encoding="utf-8")
    ]
    light = sys.stdlib_module_names | {"psutil"}
    return {
        path.relative_to(root).as_posix(): next(
            name for name in imported_names(path) if name.split(".")[0] not in light
        )
        for path in files
    }


def test_every_process_settles_its_environment_before_it_imports_what_reads_it() -> None:
    found = first_imports(ROOT)
    # What it imports next, head.py or launch/driver.py, settles it.
    assert found.pop("pipeline/jobs/start.py") == "pipeline.errors"
    assert set(found.values()) == {"pipeline.process.environment"}
    assert len(found) >= 14


def test_a_process_that_does_not_settle_its_environment_is_found(copy: Path) -> None:
    stage = copy / "stages/quantize.py"
    stage.write_text("import torch\n" + stage.read_text())
    assert first_imports(copy)["stages/quantize.py"] == "torch"


def test_an_injected_upward_import_is_found(copy: Path) -> None:
    with (copy / "pipeline/data/prepared/shards.py").open("a") as file:
        file.write("\n\ndef _late() -> None:\n    from pipeline.train.loop import fit\n")
    assert layer_faults(copy) == [
        "pipeline/data/prepared/shards.py (layer 3) imports pipeline/train/loop.py (layer 6)"
    ]


def test_an_injected_sibling_import_is_found(copy: Path) -> None:
    with (copy / "pipeline/models/description/plan.py").open("a") as file:
        file.write("\nimport pipeline.data.prepared.shards\n")
    assert layer_faults(copy) == [
        "pipeline/models/description/plan.py (layer 3) imports pipeline/data/prepared/shards.py (layer 3)"
    ]


def test_an_injected_door_break_is_found(copy: Path) -> None:
    with (copy / "pipeline/train/loop.py").open("a") as file:
        file.write("\nfrom ray import train\n")
    doors = "pipeline/job_server.py, pipeline/launch/"
    assert door_faults(copy) == [f"pipeline/train/loop.py imports ray; only {doors} may"]
