"""Faults at random moments, many times over, in real training processes: `make chaos`, over an hour on four
cores.

Every training that was disturbed ends in the weights, the history and the metrics of the undisturbed one, and
a twin whose code lacks what protects from the fault does not. Seconds from each fault to the first result
afterwards are printed at the end of its test.
"""

import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from pipeline.base.files import sha256_file
from pipeline.tracking.journal import read_journal
from tests.support.damage import kill_in_write, spoil_newest
from tests.support.project import Project, copied_project, fresh_project, named, training_workers, until
from tests.support.trainings import WITHOUT_TRAINING, mlflow_steps, validated

EPOCHS = 90
PROTECTION = {
    "train": {"epochs": EPOCHS},
    "resources": {"workers": 3, "max_failures": 100, "checkpoint_s": 0.2},
}
"""Three workers: among two, the order in which gradients are added never shows."""
LONGEST_PAUSE_S = 4.0
"""Between two faults, at random; an epoch takes about half a second."""


class Edit(NamedTuple):
    """A change of a source file, mostly one that takes a protection out."""

    path: str
    found: str
    instead: str

    def apply(self, root: Path) -> None:
        source = (root / self.path).read_text()
        assert self.found in source, f"{self.path} no longer reads so: write the edit anew"
        (root / self.path).write_text(source.replace(self.found, self.instead))


class Fault(NamedTuple):
    """inflict: does the damage; False where its moment has passed, and it is tried again.

    without: what is taken out of the twin's code. then: how the twin fails, a regular expression. given:
    edits of both, for what cannot be inflicted from outside, or would be noticed by something else too.
    """

    times: int
    inflict: Callable[[Project, random.Random], bool]
    without: tuple[Edit, ...]
    then: str
    given: tuple[Edit, ...] = ()


def kill_worker(project: Project, chance: random.Random) -> bool:
    workers = training_workers(project.processes())
    return bool(workers) and _killed(chance.choice(workers))


def kill_newest(words: str) -> Callable[[Project, random.Random], bool]:
    def inflict(project: Project, _chance: random.Random) -> bool:
        found = named(project, words)
        return found is not None and _killed(found)

    return inflict


def kill_dvc(project: Project, _chance: random.Random) -> bool:
    """`dvc repro` itself; it is started again, as a user would."""
    project.commands[-1].process.kill()
    project.commands[-1].process.wait()
    until(lambda: not project.processes(), "everything ends with dvc", 30.0)
    project.start("dvc", "repro", "train")
    return True


def kill_writer(project: Project, _chance: random.Random) -> bool:
    """The worker that writes the checkpoints, in the middle of one."""
    writers = [worker for worker in training_workers(project.processes()) if holds(worker, "writer.lock")]
    return bool(writers) and kill_in_write(writers[0], checkpoints(project))


def holds(process: psutil.Process, name: str) -> bool:
    with suppress(psutil.NoSuchProcess):
        return any(Path(file.path).name == name for file in process.open_files())
    return False


def freeze_worker(project: Project, chance: random.Random) -> bool:
    """The whole process stops, as on a machine that is gone, and its connections stay open."""
    with suppress(psutil.NoSuchProcess):
        if workers := training_workers(project.processes()):
            chance.choice(workers).suspend()
            return True
    return False


def hang_worker(project: Project, _chance: random.Random) -> bool:
    """The training of whichever worker looks first waits for ever, while the rest of its process lives on."""
    order = project.scratch / "hang"
    order.touch()
    until(lambda: not order.exists() or done(project), "a worker hangs", 30.0)
    return not order.exists()


def damage(how: str) -> Callable[[Project, random.Random], bool]:
    """Spoil the newest checkpoint, and kill a worker so that the run has to look for one."""

    def inflict(project: Project, chance: random.Random) -> bool:
        workers = training_workers(project.processes())
        for worker in workers:
            with suppress(psutil.NoSuchProcess):
                worker.suspend()  # else a newer checkpoint could be there by now
        spoiled = spoil_newest(checkpoints(project), how, chance)
        return any([_killed(worker) for worker in workers]) and spoiled

    return inflict


OPTIMIZER_RESTORED = Edit(
    "pipeline/train/state.py", 'self._restore_optimizer(without_prefix(tensors, "optimizer."))', "pass"
)
DRIVER_STARTED_AGAIN = Edit(
    "pipeline/launch/driver.py", "range(request.resources.max_failures + 1)", "range(1)"
)
DVC_WATCHED = Edit("pipeline/entry.py", "        die_with_dvc()\n", "")
VERIFIED = Edit("pipeline/train/checkpoints/local.py", "if not _verifies(folder):", "if not folder.exists():")
RENAMED_WHEN_COMPLETE = Edit(
    "pipeline/train/checkpoints/local.py",
    'with atomic_dir(self.folder / f"step-{step:09d}") as folder:',
    'if (folder := self.folder / f"step-{step:09d}").mkdir(parents=True, exist_ok=True) is None:',
)
HEALTH_CHECKED = Edit(
    "pipeline/launch/ray_cluster.py", '_HEALTH_CHECK_TIMEOUT_S": "20"', '_HEALTH_CHECK_TIMEOUT_S": "600"'
)
WATCHED = Edit("pipeline/launch/worker.py", "with join(device), watched():", "with join(device):")
COLLECTIVES_TIMED = Edit(
    "pipeline/train/process_group.py", "COLLECTIVE_TIMEOUT_S = 60", "COLLECTIVE_TIMEOUT_S = 1800"
)
HANGS_WHEN_TOLD = Edit(
    "pipeline/launch/worker.py",
    "    return _told_to_go.is_set() or",
    """    with suppress(FileNotFoundError):
        os.unlink(os.environ["TMPDIR"] + "/hang")
        threading.Event().wait()
    return _told_to_go.is_set() or""",
)
SUPPRESS_IMPORTED = Edit(
    "pipeline/launch/worker.py",
    "AbstractContextManager, contextmanager",
    "AbstractContextManager, contextmanager, suppress",
)
NOBODY_NOTICES = "waited 120 s in vain until new workers start"
DRIVER_DIED = "the process that drives Ray died"
DIFFERENT = "the weights differ"
FAILED = "training gave up after"
FAULTS = {
    "worker": Fault(20, kill_worker, (OPTIMIZER_RESTORED,), DIFFERENT),
    "driver": Fault(10, kill_newest("-m pipeline.launch.driver"), (DRIVER_STARTED_AGAIN,), DRIVER_DIED),
    "dvc": Fault(10, kill_dvc, (DVC_WATCHED,), "everything ends with dvc"),
    "controller": Fault(10, kill_newest("ray::TrainController"), (DRIVER_STARTED_AGAIN,), DRIVER_DIED),
    "head": Fault(3, kill_newest("gcs_server"), (DRIVER_STARTED_AGAIN,), DRIVER_DIED),
    "truncated checkpoint": Fault(10, damage("truncated"), (VERIFIED,), FAILED),
    "flipped bit": Fault(10, damage("flipped"), (VERIFIED,), f"{DIFFERENT}|{FAILED}"),
    "inside the write": Fault(20, kill_writer, (VERIFIED, RENAMED_WHEN_COMPLETE), FAILED),
    "frozen worker": Fault(5, freeze_worker, (HEALTH_CHECKED, WATCHED, COLLECTIVES_TIMED), NOBODY_NOTICES),
    "hung training": Fault(
        5, hang_worker, (WATCHED,), NOBODY_NOTICES, (HANGS_WHEN_TOLD, SUPPRESS_IMPORTED, COLLECTIVES_TIMED)
    ),
}
TWIN_FAULTS = 3
"""Of the twin at most: one flipped bit could be rounded away."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with fresh_project(tmp_path_factory.mktemp("undisturbed")) as project:
        project.change_params(PROTECTION)
        project.run("dvc", "repro", "train").expect_success()
        yield project


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", FAULTS)
def test_it_ends_in_the_same_weights(
    undisturbed: Project, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fault, chance = FAULTS[name], random.Random(name)
    seconds: list[float] = []
    for number in range(
        fault.times
    ):  # as many trainings as it takes, for one can end before its turn comes again
        if len(seconds) >= fault.times:
            break
        with copied_project(undisturbed, tmp_path / str(number), leave_out=WITHOUT_TRAINING) as project:
            for edit in fault.given:
                edit.apply(project.root)
            seconds += disturb(project, fault, chance, fault.times - len(seconds))
            assert project.commands[-1].wait().expect_success()
            until(lambda project=project: not project.processes(), "the courier ends", 30.0)  # type: ignore[misc]
            check_equal(project, undisturbed)
    assert len(seconds) >= fault.times, "the trainings were too short for as many faults"
    with capsys.disabled():
        spread = f"{min(seconds):.1f} to {max(seconds):.1f}"
        print(f"\n{name}: {len(seconds)} times, recovered in {statistics.median(seconds):.1f} s ({spread})")  # noqa: T201


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", FAULTS)
def test_its_twin_without_the_protection_fails(undisturbed: Project, tmp_path: Path, name: str) -> None:
    fault = FAULTS[name]
    with copied_project(undisturbed, tmp_path / "twin", leave_out=WITHOUT_TRAINING) as project:
        project.change_params({"resources": {"max_failures": TWIN_FAULTS}})
        for edit in (*fault.given, *fault.without):
            edit.apply(project.root)
        with pytest.raises(AssertionError, match=fault.then):
            disturb(project, fault, random.Random(name), TWIN_FAULTS)
            assert project.commands[-1].wait().expect_success()
            check_equal(project, undisturbed)


def disturb(project: Project, fault: Fault, chance: random.Random, times: int) -> list[float]:
    """Inflict a fault again and again until the training is done; seconds to the first result of new workers
    after each.
    """
    seconds: list[float] = []
    project.start("dvc", "repro", "train")
    while len(seconds) < times:
        wait_for_result(project, time.time())
        time.sleep(chance.uniform(0, LONGEST_PAUSE_S))
        old, start = worker_ids(project), time.monotonic()
        if done(project) or not fault.inflict(project, chance):
            break
        until(lambda old=old: new_workers(project, old) or done(project), "new workers start", 120.0)  # type: ignore[misc]
        wait_for_result(project, time.time())
        seconds.append(time.monotonic() - start)
    return seconds


def worker_ids(project: Project) -> set[int]:
    return {worker.pid for worker in training_workers(project.processes())}


def new_workers(project: Project, old: set[int]) -> bool:
    now = worker_ids(project)
    return bool(now) and not now & old


def wait_for_result(project: Project, since: float) -> None:
    until(lambda: newest_event(project) > since or done(project), "training goes on", 120.0)


def check_equal(project: Project, undisturbed: Project) -> None:
    weights, history = "artifacts/dense/weights.safetensors", "reports/train/history.csv"
    assert sha256_file(project.root / weights) == sha256_file(undisturbed.root / weights), (
        "the weights differ"
    )
    assert (project.root / history).read_bytes() == (undisturbed.root / history).read_bytes()
    assert mlflow_steps(project) == validated(undisturbed), "each step is in MLflow once, in order"


def checkpoints(project: Project) -> Path:
    return next((project.root / ".espalier" / "runs").glob("train-*"), project.root) / "checkpoints"


def done(project: Project) -> bool:
    return project.commands[-1].process.poll() is not None


def newest_event(project: Project) -> float:
    """When the newest result was reported, s since 1970."""
    journals = (project.root / ".espalier" / "journals").glob("train-*.jsonl")
    return max((event["time"] for journal in journals for event in read_journal(journal)), default=0.0)


def _killed(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        process.kill()
        return True
    return False
