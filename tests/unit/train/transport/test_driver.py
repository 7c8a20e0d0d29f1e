"""A run through a storage: the worker's folders are not the driver's."""

import os
import time
from pathlib import Path

import pytest

from pipeline.base.files import sha256_file, sha256_tree
from pipeline.storage import Storage
from pipeline.tracking.journal import read_journal
from pipeline.train.checkpoints.remote import RemoteStore
from pipeline.train.job import Inputs, Job
from pipeline.train.loop import fit
from pipeline.train.run import Run, origin
from pipeline.train.transport.collect import result_folder
from pipeline.train.transport.driver import (
    FINISHED,
    KEEP_UNTIL_PUSHED,
    RESULT,
    collect,
    finish,
    forget_finished,
    read_user_error,
    report_user_error,
    run_storage,
    send,
)
from pipeline.train.transport.worker import UNUSED_S, arrive, open_store
from tests.support.fit_samples import changed_job, job, prepared_digits


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return prepared_digits(tmp_path)


@pytest.fixture
def on_another_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "node"))
    (tmp_path / "bucket").mkdir()
    return tmp_path / "node"


class KilledError(Exception):
    pass


def weights(run_dir: Path) -> str:
    return sha256_file(run_dir / "result" / "model" / "weights.safetensors")


def values(path: Path) -> list[tuple[object, object]]:
    return [
        (event["step"], {k: v for k, v in event["values"].items() if k != "images_per_s"})
        for event in read_journal(path)
    ]


@pytest.fixture
def sent(data: Path, tmp_path: Path, on_another_node: Path) -> Job:
    (tmp_path / "run").mkdir()
    return send(job(data, tmp_path / "run", checkpoint_s=0.0), str(tmp_path / "bucket"))


def test_the_result_is_that_of_a_shared_disk(
    data: Path, sent: Job, tmp_path: Path, on_another_node: Path
) -> None:
    fit(job(data, tmp_path / "here"), "cpu", 1)
    fit(arrive(sent), "cpu", 1)
    assert list((tmp_path / "run").iterdir()) == [], "the worker wrote to the driver's folder"
    fetched = on_another_node / "espalier" / "inputs" / sent.site.digests["data"]
    assert sha256_tree(fetched) == sha256_tree(data)
    collect(sent)
    assert weights(tmp_path / "run") == weights(tmp_path / "here")
    assert values(sent.site.journal) == values(tmp_path / "here" / "journal.jsonl")
    finish(sent)
    left = Storage(str(tmp_path / "bucket")).names()
    assert left, "inputs stay for the next run"
    assert all(name.startswith("inputs/") for name in left)


@pytest.mark.parametrize("steps", [1, 20, 45])
def test_a_killed_run_goes_on_on_another_node(
    data: Path, sent: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    fit(job(data, tmp_path / "here"), "cpu", 1)

    def die(run: Run) -> None:
        if run.state.progress.step == steps:
            raise KilledError

    with pytest.raises(KilledError):
        fit(arrive(sent), "cpu", 1, at_step=die)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another"))
    fit(arrive(sent), "cpu", 1)
    collect(sent)
    assert weights(tmp_path / "run") == weights(tmp_path / "here")
    assert values(sent.site.journal) == values(tmp_path / "here" / "journal.jsonl")


def test_only_whole_checkpoints_count_and_two_are_kept(sent: Job, tmp_path: Path) -> None:
    fit(arrive(sent), "cpu", 1)
    place = run_storage(sent).below("checkpoints")
    folders = sorted({name.partition("/")[0] for name in place.names()})
    assert len(folders) == 2
    store = open_store(changed_job(sent, journal=tmp_path / "restored.jsonl"))
    assert isinstance(store, RemoteStore)
    newest, before = (int(folder.split("-")[1]) for folder in reversed(folders))

    def step_of_newest() -> int:
        found = store.newest()
        assert found is not None
        step: int = found[1]["progress"]["step"]
        return step

    assert step_of_newest() == newest
    place.write(f"{folders[1]}/state.json", b"{}")
    assert step_of_newest() == before
    place.remove(f"{folders[0]}/manifest.json")
    assert store.newest() is None


def test_a_users_error_reaches_the_driver_and_is_forgotten_at_the_next_start(
    sent: Job, tmp_path: Path
) -> None:
    assert read_user_error(sent) is None
    report_user_error(sent, "the loss is not finite at step 3")
    assert read_user_error(sent) == "the loss is not finite at step 3"
    assert read_user_error(send(sent, str(tmp_path / "bucket"))) is None


def test_on_a_disk_that_may_be_lost_a_finished_run_stays_until_its_outputs_are_sent(
    sent: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEEP_UNTIL_PUSHED, "1")
    monkeypatch.chdir(tmp_path)
    run = send(changed_job(sent, run_dir=tmp_path / "train-12"), str(tmp_path / "bucket"))
    run_storage(run).write(RESULT, b"digest")
    finish(run)
    forget_finished(tmp_path, "finetune")
    assert run_storage(run).read(RESULT) == b"digest"
    forget_finished(tmp_path, "train")
    assert run_storage(run).read(RESULT) is None
    assert not list((tmp_path / FINISHED).iterdir())


def test_inputs_are_sent_once(data: Path, sent: Job, tmp_path: Path) -> None:
    before = {
        path: path.stat().st_mtime_ns
        for path in (tmp_path / "bucket" / "inputs").rglob("*")
        if path.is_file()
    }
    send(job(data, tmp_path / "other"), str(tmp_path / "bucket"))
    after = {
        path: path.stat().st_mtime_ns
        for path in (tmp_path / "bucket" / "inputs").rglob("*")
        if path.is_file()
    }
    assert before == after
    assert before


def test_a_node_keeps_what_is_used_and_removes_what_nobody_came_back_to(sent: Job, tmp_path: Path) -> None:
    here = arrive(sent)
    kept, run = here.inputs.data.parent if here.inputs.data.is_file() else here.inputs.data, here.site.run_dir
    unused, forgotten = kept.with_name("0" * 32), run.with_name("train-0")
    for folder in (run, unused, forgotten):
        folder.mkdir(parents=True, exist_ok=True)
    for folder in (kept, unused, forgotten):
        os.utime(folder, (0, 0))
    os.utime(kept, (time.time() - UNUSED_S / 2,) * 2)
    before = time.time()
    arrive(sent)
    assert kept.exists()
    assert run.exists()
    assert not unused.exists()
    assert not forgotten.exists()
    assert kept.stat().st_mtime >= before - 1.0


def test_the_result_folder_is_the_drivers(sent: Job, tmp_path: Path) -> None:
    fit(arrive(sent), "cpu", 1)
    collect(sent)
    assert result_folder(sent) == tmp_path / "run" / "result"
    assert sorted(path.name for path in result_folder(sent).iterdir()) == [
        "history.csv",
        "journal.jsonl",
        "model",
        "summary.json",
    ]


def test_a_run_may_go_on_elsewhere_and_only_as_the_same_problem(data: Path, tmp_path: Path) -> None:
    here = job(data, tmp_path / "run")
    elsewhere = here.model_copy(
        update={"inputs": Inputs(data=Path("copy")), "site": here.site.at(tmp_path / "there")}
    )
    assert origin(elsewhere.problem) == origin(here.problem)
    assert elsewhere.inputs.data == Path.cwd() / "copy", "which the processes of Ray can read too"
    assert origin(changed_job(here, params=job(data, tmp_path, seed=1).problem.params).problem) != origin(
        here.problem
    )
