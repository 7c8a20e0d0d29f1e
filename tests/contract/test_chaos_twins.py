"""The source still has what the twins of tests/chaos take out; `make chaos` itself would tell
after an hour.
"""

import shutil
from pathlib import Path

import pytest

from tests.chaos.test_chaos import FAULTS
from tests.chaos.test_told_to_go import LISTENS

ROOT = Path(__file__).parents[2]
EDITS = {name: (*fault.given, *fault.without) for name, fault in FAULTS.items()} | {"told to go": (LISTENS,)}


@pytest.mark.parametrize("name", EDITS)
def test_each_protection_can_be_taken_out(tmp_path: Path, name: str) -> None:
    shutil.copytree(ROOT / "pipeline", tmp_path / "pipeline")
    for edit in EDITS[name]:
        edit.apply(tmp_path)
