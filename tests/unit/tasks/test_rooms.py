"""What the rooms of the kinds of problem may import."""

from pathlib import Path

import pytest

from tests.support.imports import closure, imported_names

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("file", ["judging/examiner.py", "reports/report.py"])
def test_judging_and_reports_do_not_wait_for_torch(file: str) -> None:
    files = closure(ROOT, f"pipeline/tasks/{file}")
    assert f"pipeline/tasks/{Path(file).parent}/regression.py" in files
    assert [
        path for path in files if "torch" in {name.split(".")[0] for name in imported_names(ROOT / path)}
    ] == []
