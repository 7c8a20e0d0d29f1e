"""`dvc exp run` registers a candidate at most, the repro after it judges, and what a folder lost is
registered again.

With the real stage `register` on made-up figures, since what comes before it decides nothing here.
"""

import shutil
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.figures_samples import GOOD, evaluated_project
from tests.support.places import ROOT
from tests.support.project import Project, opened_project, running_stages

SUMMARY = (sys.executable, "-m", "pipeline.cli", "summary", "--judge")
"""What `make repro` ends with."""
USER = ("-c", "user.name=test", "-c", "user.email=test@localhost")


def lay_out(project: Project) -> None:
    """Everything that `register` needs, in git, and no other stage."""
    evaluated_project(project.root)
    for folder in ("pipeline", "stages"):
        shutil.rmtree(project.root / folder)
        shutil.copytree(ROOT / folder, project.root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    dvc = yaml.safe_load((project.root / "dvc.yaml").read_text())
    del dvc["stages"]["prepare"]
    (project.root / "dvc.yaml").write_text(yaml.safe_dump(dvc))
    (project.root / ".gitignore").write_text("/.espalier\n__pycache__\n")
    project.write_params(yaml.safe_load((ROOT / "presets/digits.yaml").read_text()) | {"register": GOOD})
    for words in (
        ("git", "init", "-q"),
        ("dvc", "init", "-q"),
        ("git", "add", "-A"),
        ("git", *USER, "commit", "-qm", "a"),
    ):
        project.run(*words).expect_success()


@pytest.mark.timeout(600)
def test_an_experiment_is_a_candidate_and_what_a_folder_lost_comes_back(tmp_path: Path) -> None:
    with opened_project(tmp_path) as project:
        lay_out(project)
        ran = project.run("dvc", "exp", "run", "-S", "register.min_score=0.9").expect_success().out
        assert running_stages(ran) == ["register"]
        assert (
            "quantized does not replace the champion: the champion moves by a repro outside an experiment"
            in ran
        )
        verdict = (project.root / "reports/verdict.json").read_bytes()

        assert running_stages(project.run("dvc", "repro").expect_success().out) == []
        judged = project.run(*SUMMARY).expect_success().out
        assert "quantized (version 3) is the new champion: there was no champion" in judged
        assert "@candidate, @champion\n" in judged
        assert "\nChampion since " in judged

        shutil.rmtree(project.root / ".espalier")
        (project.root / "reports/verdict.json").unlink()
        assert running_stages(project.run("dvc", "repro").expect_success().out) == []
        assert (project.root / "reports/verdict.json").read_bytes() == verdict
        restored = project.run(*SUMMARY).expect_success().out
        assert "The registry lacked dense, finetuned, quantized: registered again.\n" in restored
        assert "@candidate, @champion\n" in restored
