"""A sweep's points, what is chosen among them, and how a folder becomes an experiment."""

import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from matplotlib.text import Annotation, Text

from pipeline.errors import ArtifactError, EspalierError, ParamsError, TrainingError
from pipeline.frontier.candidates import Candidate, Frontier, Speed, frontier
from pipeline.frontier.experiments import Experiment, head, names, save
from pipeline.frontier.picture import draw_frontier, plot
from pipeline.frontier.points import COMPARED_VARIANTS, Project, parse_settings, points
from pipeline.frontier.show import candidates_table, choice
from pipeline.frontier.sweep import parallel_groups, sweep
from pipeline.frontier.workshop import PointWorkspace, override, reason
from pipeline.params import read_yaml
from pipeline.repro import machine_lock
from tests.support.figures_samples import figures
from tests.support.places import ROOT

AXES = ["prune.max_ratio=0.5,0.7", "quantize.calibration_images=64,128"]


@pytest.fixture(scope="module")
def project() -> Project:
    return Project(ROOT)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What decides a point, in a git repository."""
    for name in ("pipeline", "stages", "data/raw", "data/init", "data/teacher"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "cifar*"))
    for name in ("dvc.yaml", "params.yaml", ".gitignore", ".dvc/.gitignore", ".dvc/config"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "-q", "-m", "copy")
    return tmp_path


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def candidate(variant: str, label: str, speedup: float, top1: float, **changes: Any) -> Candidate:
    values: dict[str, Any] = {
        "experiment": f"frontier-{label}",
        "val_top1": top1,
        "macs": 100,
        "size_bytes": 1000,
        "measured_on": "CPU x",
        "speeds": {1: Speed(1 / speedup, speedup, 1.0), 64: Speed(64 / speedup, speedup, 1.0)},
    }
    return Candidate(variant=variant, label=label, top1=top1, **{**values, **changes})


DENSE = candidate("dense", "", 1.0, 0.98, speeds={1: Speed(2.0, 1.0, 1.0), 64: Speed(64.0, 1.0, 1.0)})


TINY = candidate("quantized", "0.3", 1.5, 0.9, size_bytes=10)


def sample() -> Frontier:
    found = [
        candidate("finetuned", "0.5", 2.0, 0.97, size_bytes=500),
        candidate("finetuned", "0.7", 0.8, 0.975, size_bytes=700),
        candidate("quantized", "0.5", 4.0, 0.95, size_bytes=150),
        candidate("quantized", "0.7", 3.0, 0.97, val_top1=0.979, size_bytes=200),
    ]
    return Frontier(DENSE, found, ["prune.max_ratio"], left_out={}, min_step=1.0)


def test_values_are_yaml_and_commas_within_brackets_do_not_part_them() -> None:
    assert parse_settings(["a.b=0.5,x", "a.c=[1, 2],null", "a.d={macs: 0.5},{macs: 0.3}"]) == {
        "a.b": [0.5, "x"],
        "a.c": [[1, 2], None],
        "a.d": [{"macs": 0.5}, {"macs": 0.3}],
    }


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (["prune.max_ratio"], "write it as section.key=value,value"),
        (["prune.max_ratio="], "write it as section.key=value,value"),
        (["prune.max_ratio={a: 1"], "not valid YAML"),
        (["prune.max_ratio=0.5", "prune.max_ratio=0.6"], "given twice"),
        (["prune.max_ration=0.5"], "unknown key 'prune.max_ration'; did you mean 'max_ratio'?"),
        (["prunes.max_ratio=0.5"], "no stage of a point reads 'prunes'; did you mean 'prune'?"),
        (["prune.max_ratio.x=0.5"], "prune.max_ratio is 0.8 and has no keys; set it whole"),
        (["train.epochs=1"], "changes the dense model or how it is measured"),
        (["resources.workers=1"], "no stage of a point reads 'resources'"),
        (
            ["prune.max_ratio=2.0", "quantize.calibration_images=0"],
            r"(?s)prune.max_ratio is 2.0.*calibration_images is 0",
        ),
    ],
)
def test_what_cannot_be_swept_is_named(project: Project, settings: list[str], says: str) -> None:
    with pytest.raises(ParamsError, match=says):
        points(project, parse_settings(settings))


def test_points_are_the_product_and_equal_inputs_have_one_name(project: Project) -> None:
    found = points(project, parse_settings(AXES))
    assert [point.label for point in found] == [
        f"prune.max_ratio={ratio} quantize.calibration_images={images}"
        for ratio in (0.5, 0.7)
        for images in (64, 128)
    ]
    again = points(project, parse_settings(AXES[::-1]))
    assert {point.name for point in again} == {point.name for point in found}
    assert len({point.name for point in found}) == 4
    assert len(points(project, {"prune.max_ratio": [0.5, 0.5]})) == 1


def test_points_that_share_a_training_take_turns(project: Project) -> None:
    groups = parallel_groups(points(project, parse_settings(AXES)))
    assert [[point.overrides["prune.max_ratio"] for point in group] for group in groups] == [
        [0.5, 0.5],
        [0.7, 0.7],
    ]


def test_a_name_follows_code_and_data_and_nothing_else(copy: Path) -> None:
    axes = parse_settings(["prune.max_ratio=0.5"])
    before = points(Project(copy), axes)[0].name
    (copy / "pipeline/cli.py").write_text("# no stage needs it\n")
    assert points(Project(copy), axes)[0].name == before
    (copy / "data/raw/more.bin").write_text("more")
    with_data = points(Project(copy), axes)[0].name
    (copy / "pipeline/quantize/quantize.py").write_text("# edited\n")
    assert len({before, with_data, points(Project(copy), axes)[0].name}) == 3


def test_an_override_leaves_the_rest_of_the_file_as_it_is(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    (tmp_path / "params.yaml").write_text(text)
    override(tmp_path / "params.yaml", {"prune.max_ratio": 0.55, "train.optimizer.lr": 0.3})
    changed = zip(text.splitlines(), (tmp_path / "params.yaml").read_text().splitlines(), strict=True)
    assert [new.split("#")[0].split(",")[0].strip() for old, new in changed if new != old] == [
        "optimizer: {name: sgd",
        "max_ratio: 0.55",
    ]
    assert read_yaml(tmp_path / "params.yaml")["train"]["patience"] is None


def test_a_folder_gets_the_tree_as_it_is_and_keeps_its_checkpoints(copy: Path) -> None:
    (copy / "data/raw/table.parquet").write_text("ignored by git")
    (copy / "pipeline/new.py").write_text("x = 1\n")
    project = Project(copy)
    workspace = PointWorkspace(project, points(project, {"prune.max_ratio": [0.5]})[0], copy / ".dvc/cache")
    for name in (".espalier/runs/finetune-1/newest", "artifacts/pruned/left.txt"):
        (workspace.folder / name).parent.mkdir(parents=True)
        (workspace.folder / name).write_text("by a killed stage")
    workspace.prepare()
    assert (workspace.folder / ".espalier/runs/finetune-1/newest").exists()
    assert not (workspace.folder / "artifacts").exists()
    assert (workspace.folder / "data/raw/table.parquet").read_text() == "ignored by git"
    assert (workspace.folder / "pipeline/new.py").exists()
    assert read_yaml(workspace.folder / "params.yaml")["prune"]["max_ratio"] == 0.5
    assert str(copy / ".dvc/cache") in (workspace.folder / ".dvc/config.local").read_text()
    assert (workspace.folder / machine_lock.LOCKS_FOLDER).resolve() == copy / machine_lock.LOCKS_FOLDER, (
        "points are timed one by one"
    )
    (copy / "pipeline/quantize/quantize.py").write_text("# edited\n")
    with pytest.raises(EspalierError, match="changed while the sweep ran"):
        workspace.prepare()


def test_what_is_left_of_a_point_goes_and_its_journals_come(copy: Path) -> None:
    project = Project(copy)
    workspace = PointWorkspace(project, points(project, {"prune.max_ratio": [0.5]})[0], copy / ".dvc/cache")
    for name in ("finetune-1.jsonl", "finetune-1.run.json"):
        (workspace.folder / ".espalier/journals" / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace.folder / ".espalier/journals" / name).write_text("{}\n")
    (copy / machine_lock.LOCKS_FOLDER).mkdir()
    (workspace.folder / machine_lock.LOCKS_FOLDER).symlink_to(copy / machine_lock.LOCKS_FOLDER)
    for _ in range(2):  # also where a kill came after half of it
        workspace.clear()
        assert (copy / machine_lock.LOCKS_FOLDER).exists()
        assert {path.name for path in (copy / ".espalier/journals").iterdir()} == {
            "finetune-1.jsonl",
            "finetune-1.run.json",
        }
        assert not workspace.folder.exists()


@pytest.mark.parametrize(
    ("log", "says"),
    [
        (
            "espalier prune: 3 events wait\nespalier finetune: 3 more attempts\nespalier finetune: gave up\n"
            "ERROR: failed to reproduce 'finetune': exited with 1\nespalier prune: 2 events wait\n",
            "espalier finetune: gave up",
        ),
        ("ERROR: failed to reproduce 'prune': killed\n", "ERROR: failed to reproduce 'prune': killed"),
        ("", "`dvc repro` failed"),
    ],
)
def test_the_reason_is_what_the_failed_stage_said_last(log: str, says: str) -> None:
    assert reason(log) == says


def test_an_experiment_holds_the_folder_and_leaves_the_index_alone(copy: Path) -> None:
    folder = copy / ".espalier/frontier/frontier-1"
    shutil.copytree(copy, folder, ignore=shutil.ignore_patterns(".git", ".espalier"))
    (folder / "dvc.lock").write_text("schema: '2.0'\n")
    (folder / "data/prepared").mkdir()
    (folder / "data/prepared/shard").write_text("ignored")
    (copy / "staged.txt").write_text("mine")
    git(copy, "add", "staged.txt")
    commit = head(copy)
    save(copy, folder, commit, "frontier-1", "message")
    assert names(copy, commit) == {"frontier-1"}
    made = f"refs/exps/{commit[:2]}/{commit[2:]}/frontier-1"
    assert git(copy, "diff", "--name-status", commit, made).split() == ["A", "dvc.lock"]
    assert git(copy, "rev-parse", f"{made}^").strip() == commit
    assert git(copy, "status", "--short").split() == ["A", "staged.txt"]


def test_without_a_commit_or_room_nothing_starts(
    copy: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(EspalierError, match="has no commit, on which experiments hang"):
        head(tmp_path_factory.mktemp("empty"))
    override(copy / "params.yaml", {"resources.workers": 4096})
    with pytest.raises(TrainingError, match="2 trainings of 4096 CPUs each do not fit"):
        sweep(copy, ["prune.max_ratio=0.5"], 2)
    with pytest.raises(ParamsError, match="give 1 or more"):
        sweep(copy, ["prune.max_ratio=0.5"], 0)


def test_the_pareto_set_has_no_point_that_another_beats() -> None:
    best = sample().pareto(1)
    assert [(each.variant, each.label) for each in best] == [
        ("dense", ""),
        ("quantized", "0.7"),
        ("quantized", "0.5"),
    ]


def test_the_choice_is_by_validation_and_names_the_experiment() -> None:
    found = sample()
    eligible = found.eligible(keep=0.995, max_ms=None)
    assert [(each.variant, each.label) for each in eligible] == [("quantized", "0.7")], "0.975 < 0.995 x 0.98"
    assert found.smallest(found.eligible(0.9, None)).size_bytes == 150
    assert found.fastest(found.eligible(0.9, None)).speeds[1].speedup == 4.0
    assert [each.label for each in found.eligible(0.9, max_ms=0.6)] == ["0.5"], "2 ms / 4"
    said = choice(found, 0.995, None)
    assert said.startswith("Smallest and fastest that keeps 0.995 of dense's validation top-1")
    assert "\nFastest that keeps 0.9 " in choice(
        Frontier(DENSE, [*found.candidates, TINY], [], {}, 1.0), 0.9, None
    )
    assert (
        "quantized 0.7: validation 0.9790, test 0.9700 (-0.0100), 0.2 kB, 0.667 ms, 3.00x  [frontier-0.7]"
        in said
    )
    assert "`dvc exp apply frontier-0.7`" in said
    assert choice(found, 0.999, 0.1).startswith(
        "None keeps 0.999 of dense's validation top-1 (0.9790 of 0.9800) within 0.1 ms"
    )
    assert "; the fastest that keeps as much takes longer: quantized 0.5: " in choice(found, 0.9, 0.1)


def test_what_is_slower_than_what_it_was_made_from_is_not_chosen() -> None:
    """Twin: the same point, as slow as its parent."""
    slow, same = (
        candidate(
            "quantized",
            "0.5",
            1.4,
            0.98,
            size_bytes=10,
            speeds={1: Speed(0.7, 1.4, most), 64: Speed(1.0, 1.4, 2.0)},
        )
        for most in (0.76, 1.0)
    )
    parent = candidate("finetuned", "0.5", 1.9, 0.98, size_bytes=40)
    said = choice(Frontier(DENSE, [parent, slow], [], {}, 1.0), 0.99, None)
    assert said.startswith("Smallest and fastest that keeps")
    assert "\n  finetuned 0.5: " in said
    refusal = "Not chosen, since slower than what it was made from (0.76 of its speed at most): quantized 0.5"
    assert refusal in said.splitlines()
    assert refusal in choice(Frontier(DENSE, [slow], [], {}, 1.0), 0.99, None).splitlines()
    for found in (Frontier(DENSE, [parent, same], [], {}, 1.0), Frontier(DENSE, [parent, slow], [], {}, 0.5)):
        assert found.smallest(found.eligible(0.99, None)).variant == "quantized"


def test_the_table_marks_the_pareto_set_and_what_is_slower() -> None:
    lines = candidates_table(sample()).splitlines()
    assert [line.split()[:2] for line in lines[3:7]] == [
        ["0.7", "finetuned"],
        ["0.5", "finetuned"],
        ["0.7", "quantized"],
        ["0.5", "quantized"],
    ]
    assert lines[2].endswith("1.00x*           1.00x*")
    assert lines[3].endswith("0.80x (slower)   0.80x (slower)")
    assert lines[5].endswith("3.00x*           3.00x*")
    assert "CPU x" in lines[-1]
    assert "(slower)" not in "\n".join(lines[:3] + lines[4:])


def test_the_picture_is_the_same_for_the_same_numbers() -> None:
    assert draw_frontier(sample()) == draw_frontier(sample())
    assert draw_frontier(sample()).startswith(b"\x89PNG")


def test_labels_of_close_points_can_be_read_one_by_one() -> None:
    near = [
        candidate("quantized", f"0.{label}", 2 + label / 1000, 0.97 + label / 10000) for label in range(10)
    ]
    for axes in plot(Frontier(DENSE, near, ["prune.target.macs"], {}, 1.0)).axes:
        labels = [each for each in axes.texts if isinstance(each, Annotation)]
        assert sorted(each.get_text() for each in labels) == [*(f"0.{label}" for label in range(10)), "dense"]
        boxes = [Text.get_window_extent(each) for each in labels]
        assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))
        assert all(
            axes.bbox.containsx(x) and axes.bbox.containsy(y) for box in boxes for x, y in box.corners()
        )


def experiment(project: Project, changes: dict[str, Any], device: str = "CPU x") -> Experiment:
    point = points(project, {key: [value] for key, value in changes.items()})[0]
    parts = {
        "metrics": figures().quality.model_dump(),
        "latency": {**figures().latency.model_dump(), "device": device},
    }
    measured = {
        f"reports/{each}/{name}.json": part
        for each in ("dense", *COMPARED_VARIANTS)
        for name, part in parts.items()
    }
    measured |= {"reports/prune.json": {"dense_val_top1": 0.98}}
    measured |= {"reports/quantize.json": {"val_top1": 0.96, "float_val_top1": 0.97}}
    return Experiment(point.name, point.values, measured)


def test_a_model_that_points_share_is_one_candidate(project: Project) -> None:
    made = [
        experiment(project, {"prune.max_ratio": 0.5, "quantize.calibration_images": images})
        for images in (64, 128)
    ]
    found = frontier(project, made, ["finetuned", "quantized"])
    assert sorted((each.variant, each.label, each.val_top1) for each in found.candidates) == [
        ("finetuned", "", 0.97),
        ("quantized", "128", 0.96),
        ("quantized", "64", 0.96),
    ]
    assert found.keys == ["quantize.calibration_images"]


def test_models_that_differ_in_the_key_and_not_in_the_value_are_two(project: Project) -> None:
    made = [experiment(project, {"prune.max_ratio": ratio}) for ratio in (0.5, 0.6)]
    targets = [{"macs": 0.5}, {"params": 0.5}]
    params = [
        {**each.params, "prune": {**each.params["prune"], "max_ratio": 0.5, "target": target}}
        for each, target in zip(made, targets, strict=True)
    ]
    mixed = [Experiment(project.point({}, values).name, values, made[0].metrics) for values in params]
    assert {each.label for each in frontier(project, mixed, ["finetuned"]).candidates} == {
        "macs=0.5",
        "params=0.5",
    }


def test_experiments_of_another_state_are_left_out(project: Project) -> None:
    mine, other = (experiment(project, {"prune.max_ratio": ratio}) for ratio in (0.5, 0.6))
    old = Experiment("frontier-0", other.params, other.metrics)
    found = frontier(project, [mine, old], ["finetuned"])
    assert found.left_out == {"of other code, data or a dense model of other params": 1}
    assert "\nexperiments left out: 1 of other code" in candidates_table(found)
    with pytest.raises(ArtifactError, match=r"no experiments on this commit to show \(1 of other code"):
        frontier(project, [old], ["finetuned"])
    lacking = Experiment(mine.name, mine.params, {**mine.metrics, "reports/quantize.json": {"val_top1": 0.9}})
    with pytest.raises(
        ArtifactError, match=r"reports/quantize.json of experiment frontier-\w+: float_val_top1"
    ):
        frontier(project, [lacking], ["finetuned"])


def test_of_two_devices_the_one_with_more_experiments_is_shown_and_the_other_is_named(
    project: Project,
) -> None:
    made = [experiment(project, {"prune.max_ratio": ratio}) for ratio in (0.5, 0.6)]
    made += [experiment(project, {"prune.max_ratio": ratio}, device="CPU y") for ratio in (0.3, 0.4, 0.7)]
    found = frontier(project, made, ["finetuned"])
    assert found == frontier(project, made[::-1], ["finetuned"]), (
        "the order in which they are listed decides nothing"
    )
    assert {each.label for each in found.candidates} == {"0.3", "0.4", "0.7"}
    assert found.dense.measured_on.startswith("CPU y")
    assert "experiments left out: 2 timed on CPU x, 2 threads, onnxruntime 1" in candidates_table(found)
    tied = [frontier(project, some, ["finetuned"]).dense.measured_on for some in (made[1:3], made[2:0:-1])]
    assert tied == ["CPU x, 2 threads, onnxruntime 1"] * 2
