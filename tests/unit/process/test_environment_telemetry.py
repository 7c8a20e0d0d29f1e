"""No library reports to its makers.

The whole line in a network that counts packets: tests/cluster/test_network.py.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.process.environment import SET
from tests.support.imports import imported_names
from tests.support.places import ROOT

QUIETENS = 'os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")'
CI = (
    "BUILD_BUILDID",
    "BUILDKITE",
    "CI",
    "CIRCLECI",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "JENKINS_URL",
    "TEAMCITY_VERSION",
    "TRAVIS",
)
"""Where these are set, some libraries are silent by themselves."""


def imported(code: str, home: Path) -> "subprocess.Popen[bytes]":
    home.mkdir()
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {*SET, *CI} and not name.startswith("XDG_")
    }
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment | {"HOME": str(home)})


def test_a_stage_leaves_no_id_of_this_machine(tmp_path: Path) -> None:
    """onnxruntime's import writes one, and then looks up where to send it. Twin: that import alone."""
    homes = {"stage": tmp_path / "a", "twin": tmp_path / "b"}
    started = [
        imported("import stages.compare", homes["stage"]),
        imported("import onnxruntime", homes["twin"]),
    ]
    assert [process.wait() for process in started] == [0, 0]
    left = {who: [path.name for path in home.rglob("deviceid")] for who, home in homes.items()}
    assert left == {"stage": [], "twin": ["deviceid"]}


def own_programs() -> list[Path]:
    """Files that import onnxruntime and are run without the package, by whoever uses a model."""
    files = [*(ROOT / "examples").glob("*.py"), *(ROOT / "pipeline/tasks/serving").glob("*.py")]
    return [file for file in files if "onnxruntime" in imported_names(file)]


@pytest.mark.parametrize("file", own_programs(), ids=lambda file: file.name)
def test_code_that_travels_quietens_onnxruntime_before_it_imports_it(file: Path) -> None:
    lines = [ast.unparse(node) for node in ast.parse(file.read_text()).body]
    assert lines.index(QUIETENS.replace('"', "'")) < lines.index("import onnxruntime")


def test_both_programs_are_looked_at() -> None:
    assert [file.name for file in own_programs()] == ["classify.py", "model.py"]
