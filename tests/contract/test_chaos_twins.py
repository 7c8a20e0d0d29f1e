"""The source still has what the twins of tests/chaos take out; `make chaos` itself would tell after an hour."""

import shutil
from pathlib import Path

import pytest

from tests.chaos.test_chaos import FAULTS

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", FAULTS)
def test_each_protection_can_be_taken_out(tmp_path: Path, name: str) -> None:
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline")
    for edit in (*FAULTS[name].given, *FAULTS[name].without):
        edit.apply(tmp_path)
