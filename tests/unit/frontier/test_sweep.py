"""Which points run beside each other, and what is refused before any starts."""

from pathlib import Path

import pytest

from pipeline.errors import EspalierError, ParamsError, TrainingError
from pipeline.frontier.experiments import head
from pipeline.frontier.points import Project, parse_settings, points
from pipeline.frontier.sweep import parallel_groups, sweep
from pipeline.frontier.workshop import override
from tests.support.frontier_samples import AXES


def test_points_that_share_a_training_take_turns(project: Project) -> None:
    groups = parallel_groups(points(project, parse_settings(AXES)))
    assert [[point.overrides["prune.max_ratio"] for point in group] for group in groups] == [
        [0.5, 0.5],
        [0.7, 0.7],
    ]


def test_without_a_commit_or_room_nothing_starts(
    copy: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(EspalierError, match="has no commit, on which experiments are based"):
        head(tmp_path_factory.mktemp("empty"))
    override(copy / "params.yaml", {"resources.workers": 4096})
    with pytest.raises(TrainingError, match="2 trainings of 4096 CPUs each do not fit"):
        sweep(copy, ["prune.max_ratio=0.5"], 2)
    with pytest.raises(ParamsError, match="give 1 or more"):
        sweep(copy, ["prune.max_ratio=0.5"], 0)
