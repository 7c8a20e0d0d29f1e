"""submit, attach, logs, stop against a cluster that is a folder: the head's own program runs in it, with the
real DVC.
"""

import io
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from pipeline.errors import EspalierError, ParamsError, SubmitError, UnreachableError
from pipeline.job_server import JobState
from pipeline.jobs.results import fetch_results
from pipeline.jobs.verbs import attach, logs, stop, submit
from tests.support.submit_samples import Cluster, commit, project, run, set_storage


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return project(tmp_path / "project", tmp_path / "storage", tmp_path / "remote")


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    (tmp_path / "cluster").mkdir()
    return Cluster(tmp_path / "cluster")


def locked(root: Path) -> list[str]:
    return sorted(yaml.safe_load((root / "dvc.lock").read_text())["stages"])


def send(root: Path, cluster: Cluster, *targets: str) -> str:
    """Submit without following; the name of the job."""
    submit(root, cluster, list(targets), dirty=True, follow=False)
    return (root / ".espalier" / "last-job").read_text()


def test_the_job_knows_its_commit_its_stages_and_where_its_results_go(
    root: Path, cluster: Cluster, tmp_path: Path
) -> None:
    targets = ["first", "each@a", "each"]
    job = send(root, cluster, *targets)
    order = cluster.order(job)
    head = run(root, "git", "rev-parse", "HEAD").strip()
    assert (order.job, order.targets, order.storage) == (job, targets, str(tmp_path / "storage"))
    assert (order.git_commit, order.git_dirty) == (head, False)
    assert cluster.metadata[job] == {"git_commit": head, "git_dirty": "false"}
    left = [
        path for place in ("storage", "remote") for path in (tmp_path / place).rglob("*") if path.is_file()
    ]
    assert left == [], "probes that were written before"


def test_changes_are_sent_with_a_mark(root: Path, cluster: Cluster) -> None:
    (root / "code.py").write_text("x = 2\n")
    job = send(root, cluster)
    assert cluster.order(job).git_dirty
    assert cluster.metadata[job]["git_dirty"] == "true"
    assert (cluster.folder / job / "code.py").read_text() == "x = 2\n"


def test_the_same_tree_and_stages_are_the_job_that_runs_already(
    root: Path, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    first = send(root, cluster)
    assert (
        f"{first} was submitted at http://nowhere:8265; Ctrl-C leaves it running" in capsys.readouterr().out
    )
    assert send(root, cluster) == first
    assert f"{first} runs already" in capsys.readouterr().out
    assert len(cluster.states) == 1


def test_after_its_end_the_same_tree_is_a_new_job(root: Path, cluster: Cluster) -> None:
    jobs = [send(root, cluster)]
    for end in ("SUCCEEDED", "FAILED", "STOPPED"):
        cluster.states[jobs[-1]] = JobState(end, "")
        jobs.append(send(root, cluster))
    assert jobs == [jobs[0].removesuffix("1") + number for number in "1234"]


def test_other_stages_or_another_file_are_another_job(root: Path, cluster: Cluster) -> None:
    jobs = [send(root, cluster), send(root, cluster, "first")]
    (root / "code.py").write_text("x = 2\n")
    jobs.append(send(root, cluster))
    assert len({job.rpartition("-")[0] for job in jobs}) == 3


def test_the_results_come_back(root: Path, cluster: Cluster, tmp_path: Path) -> None:
    submit(root, cluster, [], dirty=False, follow=True)
    assert [(root / name).read_text() for name in ("one", "two")] == ["1", "2"]
    assert "up to date" in run(root, "dvc", "status")
    assert run(root, "git", "status", "--short") == "?? dvc.lock\n"


def test_results_come_back_after_a_failed_stage_too_and_the_lock_is_the_jobs(
    root: Path, cluster: Cluster
) -> None:
    """With stages side by side, of which the second job brings the first one's output from the remote."""
    (root / "broken").write_text("")
    commit(root)
    (root / "dvc.lock").write_text("schema: '2.0'\nstages:\n  each@b:\n    cmd: echo b\n")
    with pytest.raises(
        SubmitError, match=r"-1 ended as FAILED: Job entrypoint command failed with exit code 1\. What was"
    ):
        submit(root, cluster, ["second"], jobs=2, dirty=False, follow=True)
    assert (root / "one").read_text() == "1"
    assert locked(root) == ["each@b", "first"]
    (root / "broken").unlink()
    submit(root, cluster, ["second"], jobs=2, dirty=True, follow=True)
    assert locked(root) == ["each@b", "first", "second"]


def test_results_of_one_stage_come_back_alone_and_are_not_taken_for_those_of_a_later_cluster(
    root: Path, cluster: Cluster
) -> None:
    storage = str(root.parent / "storage")
    submit(root, cluster, ["first"], dirty=False, follow=True)
    assert (root / "one").read_text() == "1"
    assert locked(root) == ["first"]
    (root / "dvc.lock").unlink()
    cluster.states.clear()
    job = send(root, Cluster(root.parent / "cluster" / "new"), "first")
    assert not fetch_results(job, storage, root)


def test_a_job_that_left_nothing_is_no_success(root: Path, cluster: Cluster, tmp_path: Path) -> None:
    send(root, cluster, "first")
    (tmp_path / "other").mkdir()
    set_storage(root, str(tmp_path / "other"))
    with pytest.raises(SubmitError, match=r"-1 left nothing at .*/other; is this the resources.storage"):
        attach(root, cluster, None)


def test_an_unknown_job_names_the_nearest_and_nothing_submitted_is_said(root: Path, cluster: Cluster) -> None:
    with pytest.raises(SubmitError, match="nothing was submitted from this folder; name a job"):
        attach(root, cluster, None)
    with pytest.raises(SubmitError, match="knows no job 'espalier-1'; it has none"):
        stop(root, cluster, "espalier-1")
    job = send(root, cluster)
    for verb in (attach, logs, stop):
        with pytest.raises(SubmitError, match=rf"knows no job '{job}0'; did you mean '{job}'\?"):
            verb(root, cluster, f"{job}0")


class Forgetful(Cluster):
    """Its answers to a submission are lost; `takes` says whether the job is there all the same."""

    takes = True

    def submit(self, tree: Path, job: str, entrypoint: str, metadata: dict[str, str]) -> None:
        if self.takes:
            super().submit(tree, job, entrypoint, metadata)
        raise UnreachableError("no answer")


def test_a_job_whose_acceptance_was_not_heard_is_followed(root: Path, cluster: Cluster) -> None:
    unheard = Forgetful(cluster.folder)
    unheard.takes = False
    with pytest.raises(UnreachableError):
        send(root, unheard)
    unheard.takes = True
    job = send(root, unheard)
    assert list(unheard.states) == [job]


class Gone(Cluster):
    """It does not answer any more."""

    def follow(self, job: str) -> JobState:
        raise UnreachableError("no answer; given up after 10 minutes")


def test_a_cluster_that_is_gone_is_said_with_how_to_attach_again(root: Path, cluster: Cluster) -> None:
    gone = Gone(cluster.folder)
    job = send(root, gone)
    with pytest.raises(
        UnreachableError, match=rf"given up after 10 minutes\. When it answers, `espalier attach {job}` shows"
    ):
        attach(root, gone, None)


def test_logs_and_stop_mean_the_last_job(root: Path, cluster: Cluster) -> None:
    job = send(root, cluster)
    assert logs(root, cluster, None) == f"log of {job}"
    assert stop(root, cluster, None).startswith(f"{job} was told to stop")
    assert cluster.states[job].status == "STOPPED"
    assert stop(root, cluster, None) == f"{job} is over already"


def no_storage(root: Path) -> None:
    set_storage(root, "null")


def missing_folder(root: Path) -> None:
    set_storage(root, str(root / "nowhere"))


def storage_is_a_file(root: Path) -> None:
    set_storage(root, str(root / "code.py"))


def storage_below_a_file(root: Path) -> None:
    set_storage(root, "/proc/1")


def remote_is_private(root: Path) -> None:
    (root / ".dvc" / "config").rename(root / ".dvc" / "config.local")
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")


def remotes_address_is_private(root: Path) -> None:
    (root / ".dvc" / "config.local").write_text((root / ".dvc" / "config").read_text())
    (root / ".dvc" / "config").write_text("[core]\n    remote = store\n")


def remote_is_relative(root: Path) -> None:
    (root / ".dvc" / "config").write_text(
        "[core]\n    remote = store\n['remote \"store\"']\n    url = ../../remote\n"
    )


def remote_keeps_versions(root: Path) -> None:
    (root / ".dvc" / "config").write_text(
        "[core]\n    remote = store\n['remote \"store\"']\n    url = s3://bucket/dvc\n    version_aware = "
        "true\n"
    )


def remote_cannot_be_written(root: Path) -> None:
    (root / ".dvc" / "config").write_text(
        "[core]\n    remote = store\n['remote \"store\"']\n    url = /proc/1\n"
    )


def remote_has_a_login(root: Path) -> None:
    config = root / ".dvc" / "config"
    config.write_text(config.read_text().replace("url = ", "url = webdavs://me:canary@host"))


def storage_has_a_login(root: Path) -> None:
    set_storage(root, "s3://me:canary@bucket")


def no_dvc(root: Path) -> None:
    (root / ".dvc" / "config").unlink()


REFUSED: dict[Callable[[Path], None], str] = {
    no_storage: r"resources.storage is null; a cluster's nodes share no disk with this machine, so set it to "
    r"s3://",
    missing_folder: r"resources.storage: .*/nowhere is no folder on this machine; mount it here and on every "
    r"node",
    storage_is_a_file: r"resources.storage: .*/code.py is no folder on this machine",
    storage_below_a_file: r"cannot write /proc/1/probe-\w+: .*; check resources.storage",
    remote_is_private: r"no DVC remote in .dvc/config; run `dvc remote add --default <name> s3://bucket/dvc` "
    r"and commit",
    remotes_address_is_private: r".dvc/config has no address of the DVC remote 'store'; run `dvc remote add",
    remote_is_relative: r"the DVC remote 'store' is ../../remote, a folder relative to this project, which "
    r"no node sees",
    remote_keeps_versions: r"the DVC remote 'store' keeps versions of files in DVC's place, .* name another "
    r"without v",
    remote_cannot_be_written: r"the DVC remote 'store' \(/proc/1\) takes no file: .*; check that it exists",
    remote_has_a_login: r"\.dvc/config has a user name or password in an address, of the DVC remote 'store', "
    r"and is sent along",
    storage_has_a_login: r"params\.yaml: resources\.storage holds a user name or password in an address",
    no_dvc: r"no DVC remote in .dvc/config; run `dvc remote add",
}


@pytest.mark.parametrize("fault", REFUSED, ids=lambda fault: fault.__name__)
def test_a_place_that_nodes_cannot_use_is_refused_before_anything_is_sent(
    root: Path, cluster: Cluster, fault: Callable[[Path], None]
) -> None:
    fault(root)
    with pytest.raises(EspalierError, match=REFUSED[fault]) as caught:
        send(root, cluster)
    assert "canary" not in str(caught.value)
    assert cluster.states == {}
    assert list((root.parent / "storage").iterdir()) == []


def test_a_full_remote_is_refused_before_anything_is_sent(
    root: Path, cluster: Cluster, small_disk: Path
) -> None:
    config = root / ".dvc" / "config"
    config.write_text(config.read_text().replace(str(root.parent / "remote"), str(small_disk)))
    with pytest.raises(
        SubmitError, match=r"the DVC remote 'store' \(.*/disk\) takes no file: .*No space left"
    ):
        send(root, cluster)
    assert cluster.states == {}
    assert [path.name for path in small_disk.iterdir()] == ["full"]


def test_a_null_storage_is_an_error_of_the_parameters(root: Path, cluster: Cluster) -> None:
    set_storage(root, "null")
    with pytest.raises(ParamsError, match="storage is null"):
        send(root, cluster)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("secnd", "dvc.yaml has no stage 'secnd'; did you mean 'second'?"),
        ("each@c", "dvc.yaml has no stage 'each@c'; did you mean 'each@b'?"),
        ("--force", "dvc.yaml has no stage '--force'; known: each@a, each@b, first, second"),
    ],
)
def test_an_unknown_stage_names_the_nearest(root: Path, cluster: Cluster, target: str, said: str) -> None:
    with pytest.raises(SubmitError) as caught:
        send(root, cluster, target)
    assert str(caught.value) in (said, said.replace("each@b", "each@a"))


def test_changes_are_listed_and_refused_where_nobody_can_be_asked(
    root: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    (root / "code.py").write_text("x = 2\n")
    (root / "new.py").write_text("")
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(
        SubmitError, match=r"(?s)not committed:\n   M code.py\n  \?\? new.py\ncommit them, or add --dirty"
    ):
        submit(root, cluster, [], dirty=False, follow=False)
    assert cluster.states == {}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "jobs"), [("y\n", 1), ("Yes\n", 1), ("n\n", 0), ("\n", 0), ("", 0)])
def test_a_person_is_asked_about_changes(
    root: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, answer: str, jobs: int
) -> None:
    (root / "code.py").write_text("x = 2\n")
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    with suppress(SubmitError):
        submit(root, cluster, [], dirty=False, follow=False)
    assert len(cluster.states) == jobs
