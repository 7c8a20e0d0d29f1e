"""The import graph is the cache graph, and a stage reads exactly the sections that dvc.yaml declares."""

import ast
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.base.params import Section
from pipeline.base.stage import Stage
from pipeline.errors import UndeclaredError
from tests.support.imports import closure, folded, imported_names

ROOT = Path(__file__).parents[2]
STAGES = ["prepare", "train", "profile", "prune", "finetune", "quantize", "evaluate", "compare", "register"]


class AnySection(Section, extra="allow"):
    """Accepts whatever a section holds."""


def declared(root: Path, stage: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((root / "dvc.yaml").read_text())["stages"][stage]
    return found["do"] if "foreach" in found else found


def code_faults(root: Path, stage: str) -> dict[str, list[str]]:
    """Library files that a stage imports but does not declare (stale results), and the reverse (needless
    runs).

    A folder that the stage imports whole stands for its files, and nothing else does.
    """
    needs = folded(root, closure(root, f"stages/{stage}.py"))
    has = {dep for dep in declared(root, stage)["deps"] if dep.startswith(("pipeline", "stages"))}
    return {"missing": sorted(needs - has), "needless": sorted(has - needs)}


def section_faults(root: Path, stage: str) -> dict[str, list[str]]:
    """Sections that the stage's entry file reads but dvc.yaml does not declare, and the reverse."""
    reads = {
        str(node.args[0].value)
        for node in ast.walk(ast.parse((root / "stages" / f"{stage}.py").read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "params"
        and isinstance(node.args[0], ast.Constant)
    }
    has = {name.partition(".")[0] for name in declared(root, stage)["params"]}
    return {"missing": sorted(reads - has), "needless": sorted(has - reads)}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("pipeline", "stages"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_the_stages_are_the_entry_files() -> None:
    entries = {path.stem for path in (ROOT / "stages").glob("*.py")} - {"__init__"}
    assert set(yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]) == entries == set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_deps_are_the_import_closure(stage: str) -> None:
    assert code_faults(ROOT, stage) == {"missing": [], "needless": []}


@pytest.mark.parametrize("stage", STAGES)
def test_declared_sections_are_the_ones_read(stage: str) -> None:
    assert section_faults(ROOT, stage) == {"missing": [], "needless": []}


def test_training_never_depends_on_compression_code() -> None:
    deps = declared(ROOT, "train")["deps"]
    assert not [
        dep
        for dep in deps
        if dep.startswith(
            (
                "pipeline/prune",
                "pipeline/profile",
                "pipeline/quantize",
                "pipeline/export",
                "pipeline/evaluate",
            )
        )
    ]
    assert "resources" not in {section for stage in STAGES for section in declared(ROOT, stage)["params"]}


def test_what_times_has_the_machine_alone() -> None:
    """Known by the clock that its code reads; another's work beside it would be measured too."""
    clocks = {
        stage
        for stage in STAGES
        for path in closure(ROOT, f"stages/{stage}.py")
        if "perf_counter" in (ROOT / path).read_text()
    }
    kinds = {stage: declared(ROOT, stage).get("meta", {}).get("machine") for stage in STAGES}
    assert {stage for stage, kind in kinds.items() if kind == "alone"} == clocks == {"profile", "compare"}
    assert {kind for stage, kind in kinds.items() if stage not in clocks} == {None, "workers"}


def test_comparing_does_not_wait_for_torch() -> None:
    files = closure(ROOT, "stages/compare.py")
    assert [
        path for path in files if "torch" in {name.split(".")[0] for name in imported_names(ROOT / path)}
    ] == []


def test_a_missing_dep_is_found(copy: Path) -> None:
    text = (copy / "dvc.yaml").read_text()
    (copy / "dvc.yaml").write_text(text.replace("      - pipeline/storage.py\n", "", 1))
    assert code_faults(copy, "train") == {"missing": ["pipeline/storage.py"], "needless": []}


def test_a_needless_dep_is_found(copy: Path) -> None:
    with (copy / "pipeline/train/optim.py").open("a") as file:
        file.write("\nfrom pipeline.prune.channels.widths import LayerCost\n")
    assert "pipeline/prune/channels/widths.py" in code_faults(copy, "train")["missing"]
    (copy / "stages/quantize.py").write_text('"""Imports nothing."""\n')
    assert "pipeline/quantize" in code_faults(copy, "quantize")["needless"]


@pytest.mark.parametrize(
    ("edited", "reruns"),
    [
        ("launch/ray_cluster.py", set()),
        ("tracking/journal.py", set()),
        ("doctor/examine.py", set()),
        ("check/trials.py", set()),
        ("data/intake/readers/parquet.py", {"prepare"}),
        ("data/intake/params.py", {"prepare"}),
        ("prune/params.py", {"profile", "prune"}),
        ("prune/prune.py", {"prune"}),
        ("quantize/params.py", {"quantize"}),
        ("quantize/quantizers.py", {"quantize"}),
        ("train/process_group.py", {"train", "prune", "finetune"}),
        ("train/worker_settings.py", {"train", "prune", "finetune"}),
        ("registry/gates.py", {"register"}),
    ],
)
def test_an_edit_reruns_the_stages_whose_results_it_can_change(edited: str, reruns: set[str]) -> None:
    """Itself, that is; what follows from another result is for DVC to find out."""
    found = {stage for stage in STAGES if f"pipeline/{edited}" in closure(ROOT, f"stages/{stage}.py")}
    assert found == reruns


def test_a_folder_stands_for_a_stage_that_needs_it_whole(copy: Path) -> None:
    text = (copy / "dvc.yaml").read_text()
    (copy / "dvc.yaml").write_text(
        text.replace("- pipeline/models/nets\n", "- pipeline/models/nets/build.py\n", 1)
    )
    assert code_faults(copy, "train") == {
        "missing": ["pipeline/models/nets"],
        "needless": ["pipeline/models/nets/build.py"],
    }
    files = ["pipeline/data/prepared/manifest.py", "pipeline/data/prepared/shards.py"]
    (copy / "dvc.yaml").write_text(text.replace("\n      - ".join(files), "pipeline/data/prepared", 1))
    assert code_faults(copy, "prepare") == {"missing": files, "needless": ["pipeline/data/prepared"]}


@pytest.mark.parametrize("name", ["segmentation.py", "labels.json"])
def test_a_folder_with_a_file_that_no_stage_imports_is_none_of_their_deps(copy: Path, name: str) -> None:
    (copy / "pipeline/models/description" / name).touch()
    files = [f"pipeline/models/description/{module}.py" for module in ("params", "plan", "spec")]
    assert code_faults(copy, "train") == {"missing": files, "needless": ["pipeline/models/description"]}


def test_a_network_is_a_file_that_needs_no_line_in_dvc_yaml(copy: Path) -> None:
    (copy / "pipeline/models/nets/lenet.py").touch()
    build = copy / "pipeline/models/nets/build.py"
    build.write_text(build.read_text().replace("import adapters, ", "import adapters, lenet, "))
    assert [code_faults(copy, stage) for stage in STAGES] == [{"missing": [], "needless": []}] * len(STAGES)


def test_an_undeclared_section_is_found_in_the_source_and_refused_at_run_time(copy: Path) -> None:
    entry = copy / "stages/prune.py"
    entry.write_text(entry.read_text().replace('stage.params("prune"', 'stage.params("train"'))
    assert section_faults(copy, "prune") == {"missing": ["train"], "needless": ["prune"]}
    with pytest.raises(UndeclaredError, match=r"stage 'prune' reads section 'train'.*declares only"):
        Stage("prune", copy).params("train", AnySection)


def test_resources_cannot_be_read_as_a_declared_section() -> None:
    with pytest.raises(UndeclaredError, match="resources"):
        Stage("train", ROOT).params("resources", AnySection)
