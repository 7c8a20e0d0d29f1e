"""Damage of a finished line, through real `dvc repro`: each ends in one message, whose remedy works, and none
is silent.
"""

import shutil
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.test_bad_input import OUTS
from tests.support import damage
from tests.support.project import Project, copied_project, read_json

pytestmark = pytest.mark.timeout(900)

ESPALIER = (sys.executable, "-m", "pipeline.cli", "verify")
ANSWERS = "reports/quantized/scores.csv"


class Case(NamedTuple):
    """A stage that is forced to run, what harms one of its inputs, and the path that its message
    begins with.
    """

    stage: str
    harm: Callable[[Path], object]
    named: str


def on(path: str, how: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda root: how(root / path)


def exchange(one: str, other: str) -> Callable[[Path], object]:
    return lambda root: damage.exchange(root / one, root / other)


def faster(path: Path) -> None:
    """A speed-up that no later model could beat."""
    ratio = read_json(path)["batches"]["1"]["speedup"]["dense"]["ratio"]
    damage.edit(path, f'"ratio": {ratio}', '"ratio": 99.0')


def better(path: Path) -> None:
    damage.edit(path, f'"score": {read_json(path)["score"]}', '"score": 0.999')


CASES = [
    Case(
        "register",
        on("artifacts/dense/weights.safetensors", damage.flip),
        "artifacts/dense/weights.safetensors",
    ),
    Case(
        "register",
        on("artifacts/finetuned/model.json", partial(damage.flip, share=0.3)),
        "artifacts/finetuned/model.json",
    ),
    Case("register", on("exported/quantized/model.onnx", damage.truncate), "exported/quantized/model.onnx"),
    Case("register", exchange("exported/quantized", "exported/dense"), "exported/dense/seal.json"),
    Case("register", on("reports/quantized/latency.json", faster), "reports/quantized/latency.json"),
    Case("register", on("reports/quantized/metrics.json", better), "reports/quantized/metrics.json"),
    Case(
        "compare",
        exchange("exported/quantized/model.onnx", "exported/dense/model.onnx"),
        "exported/dense/model.onnx",
    ),
    Case(
        "compare",
        on("reports/dense/scores.csv", partial(damage.flip, share=0.9)),
        "reports/dense/scores.csv",
    ),
    Case("quantize", on("data/prepared/train-00000.arrow", damage.flip), "data/prepared/train-00000.arrow"),
    Case(
        "evaluate@dense",
        on("artifacts/dense/weights.safetensors", damage.zero),
        "artifacts/dense/weights.safetensors",
    ),
]


@pytest.fixture(scope="module")
def project(complete: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with copied_project(complete, tmp_path_factory.mktemp("damaged")) as copy:
        yield copy


@pytest.fixture(autouse=True)
def whole(complete: Project, project: Project) -> None:
    """The outs as they were before the damage, and before DVC took those of the forced stage away."""
    for folder in OUTS:
        shutil.rmtree(project.root / folder)
        shutil.copytree(complete.root / folder, project.root / folder)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.stage} {case.named}")
def test_no_damage_of_an_input_is_silent(project: Project, case: Case) -> None:
    case.harm(project.root)
    done = project.run("dvc", "repro", "-f", "-s", case.stage)
    assert done.status != 0, done
    assert f"espalier {case.stage}: {case.named}: " in done.err, done.err
    assert "`espalier verify --mend`" in done.err
    assert "Traceback" not in done.err + done.out


def spoil_in_the_cache(project: Project, how: Callable[[Path], None]) -> str:
    """Harm the object that the cache has of ANSWERS, and let DVC bring it into the workspace.

    Returns the object's path.
    """
    md5 = next(
        each["md5"] for each in project.lock()["evaluate@quantized"]["outs"] if each["path"] == ANSWERS
    )
    stored = f".dvc/cache/files/md5/{md5[:2]}/{md5[2:]}"
    (project.root / stored).chmod(0o644)
    how(project.root / stored)
    (project.root / stored).chmod(0o444)
    (project.root / ANSWERS).unlink()
    project.run("dvc", "repro", "-s", "evaluate@quantized").expect_success()
    return stored


def test_what_dvc_brings_out_of_a_zeroed_object_is_refused(project: Project) -> None:
    spoil_in_the_cache(project, damage.zero)
    refused = project.run("dvc", "repro", "-f", "-s", "compare")
    assert refused.status != 0
    assert f"espalier compare: {ANSWERS}: not what reports/quantized/seal.json sealed" in refused.err


def test_the_remedy_for_a_truncated_object_brings_the_good_bytes_back(
    complete: Project, project: Project
) -> None:
    stored = spoil_in_the_cache(project, damage.truncate)
    found = project.run(*ESPALIER)
    assert found.status == 1
    assert f"{stored}: damaged in DVC's cache" in found.out
    assert f"{ANSWERS}: not what its stage left: damaged or edited" in found.out
    project.run(*ESPALIER, "--mend").expect_success()
    project.run("dvc", "repro", "-s", "evaluate@quantized").expect_success()
    assert (project.root / ANSWERS).read_bytes() == (complete.root / ANSWERS).read_bytes()
