"""README from its first line to its last on the preset digits: `make test-docs`."""

import sys
from pathlib import Path

import yaml

from tests.support.documents import LEFT_OUT_OF_DOCS, README, blocks, commands
from tests.support.places import ROOT
from tests.support.printed import as_installed, run_printed
from tests.support.project import fresh_project


def test_readme_works_from_its_first_line_to_its_last(tmp_path: Path) -> None:
    root = tmp_path / "project"
    root.mkdir()
    with fresh_project(root) as project:
        project.write_params(yaml.safe_load((ROOT / "presets/digits.yaml").read_text()))
        as_installed(root)
        for command in commands(README):
            if command not in LEFT_OUT_OF_DOCS:
                done = run_printed(project, command)
                assert done.status == 0, f"{command}\n{done.out}\n{done.err}"
        for snippet in blocks(README, "python"):
            project.run(sys.executable, "-P", "-c", snippet).expect_success()
