"""What git keeps out of a project."""

import shutil
import subprocess
from pathlib import Path

from tests.support.places import ROOT


def test_what_dvc_add_writes_beside_raw_data_is_not_ignored(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".gitignore", tmp_path)
    names = ["data/raw/x.dvc", "data/raw/.gitignore", "data/raw/README.md", "data/raw/x", "data/raw/x/1.png"]
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    ignored = subprocess.run(
        ["git", "check-ignore", *names], cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert ignored.stdout.split() == ["data/raw/x", "data/raw/x/1.png"]
