"""Pruning in parts: each cut goes further, and a kill at any point changes no bit of the result."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from pipeline.base.files import sha256_tree
from pipeline.errors import CompressionError
from pipeline.models.cost import count_macs
from pipeline.models.disk.artifact import read_spec
from pipeline.models.disk.weights import load_model
from pipeline.prune.params import PruneParams, PruneTarget
from pipeline.prune.prune import PruneReport
from pipeline.prune.schedule import Tuning, prune_in_parts
from pipeline.train.job import Job
from pipeline.train.loop import fit
from tests.support.compress_samples import fixed_profile, prune_params
from tests.support.fit_samples import CONVOLUTIONS, job, prepared_digits
from tests.support.tasks import classification

PARTS = 2
POINTS = 4
"""Two cuts, and a training of two steps between them."""
PARAMS = prune_params(schedule={"parts": PARTS, "epochs": 1}, importance="taylor", batch_size=64, round_to=2)
TASK = classification()
EXAMPLE = torch.zeros(1, 1, 8, 8)


class Killed(BaseException):
    """Stands for SIGKILL: nothing may catch it."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared digits and a dense model."""
    folder = tmp_path_factory.mktemp("iterative")
    fit(dense_job(folder), "cpu", 1)
    return folder


def dense_job(folder: Path) -> Job:
    data = folder / "prepared"
    if not data.exists():
        prepared_digits(folder)
    return job(data, folder / "dense", model=CONVOLUTIONS, epochs=1, global_batch_size=720, checkpoint_s=0.0)


def on_cpu(job: Job) -> None:
    fit(job, "cpu", 1)


def run(
    folder: Path, place: Path, params: PruneParams = PARAMS, train: Callable[[Job], None] = on_cpu
) -> list[PruneReport]:
    the_job = dense_job(folder)
    site = the_job.site.at(place / "run")
    tuning = Tuning(train, the_job.problem.params, folder / "no-teacher", site)
    dense = folder / "dense" / "result" / "model"
    return prune_in_parts(
        dense, folder / "prepared", place / "pruned", params, fixed_profile(2), TASK, tuning
    )


def killed_at(point: int, folder: Path, place: Path) -> None:
    """Do it all, and die before the cut or step of this number."""
    seen = 0

    def reach(_: object = None) -> None:
        nonlocal seen
        seen += 1
        if seen == point:
            raise Killed

    def train(job: Job) -> None:
        fit(job, "cpu", 1, at_step=reach)
        reach()  # the next cut

    with pytest.raises(Killed):
        reach()  # the first cut
        run(folder, place, train=train)


@pytest.fixture(scope="module")
def undisturbed(folder: Path) -> tuple[list[PruneReport], Path]:
    return run(folder, folder / "undisturbed"), folder / "undisturbed"


def test_each_cut_takes_more_of_what_the_one_before_left(undisturbed: tuple[list[PruneReport], Path]) -> None:
    reports, place = undisturbed
    fractions = [report.pruned.macs / report.dense.macs for report in reports]
    for fraction, removed in zip(fractions, (0.4375, 0.5), strict=True):  # 1 - (1 - i/2)^3 of one half
        assert fraction == pytest.approx(1 - removed, abs=0.06)
        assert fraction <= 1 - removed
    before, after = (read_spec(folder).plan for folder in (place / "run" / "cut-1", place / "pruned"))
    for name, kept in before.items():
        assert kept.out is None or set(after[name].out or []) <= set(kept.out), name
    spec, model = load_model(place / "pruned")
    assert count_macs(model, EXAMPLE) == reports[-1].pruned.macs
    assert set(spec.ancestors) == {"data", "dense"}


def test_training_in_between_shows(undisturbed: tuple[list[PruneReport], Path]) -> None:
    reports, _ = undisturbed
    assert reports[0].before_score == reports[0].dense_score
    assert reports[1].before_score != reports[0].pruned_score


def test_killed_at_any_point_it_ends_in_the_same_bits(
    folder: Path, undisturbed: tuple[list[PruneReport], Path], tmp_path: Path
) -> None:
    reports, place = undisturbed
    for point in range(1, POINTS + 1):
        killed_at(point, folder, tmp_path / str(point))
        assert run(folder, tmp_path / str(point)) == reports
        assert sha256_tree(tmp_path / str(point) / "pruned") == sha256_tree(place / "pruned")
    with pytest.raises(pytest.fail.Exception):  # there are no other points
        killed_at(POINTS + 1, folder, tmp_path / "none")


@pytest.mark.parametrize("kind", ["macs", "params"])
def test_a_target_that_the_last_cut_cannot_reach_is_named_before_any_training(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    params = PARAMS.model_copy(update={"target": PruneTarget.model_validate({kind: 0.05}), "max_ratio": 0.5})
    with pytest.raises(
        CompressionError,
        match=r"prune.target: 0\.050 of the dense .* out of reach; .* 0\.\d+ to 1\.0 can be reached",
    ):
        run(folder, tmp_path, params, train=lambda job: pytest.fail(f"trained in {job.site.run_dir}"))
