"""The commands: submit, attach, logs, stop."""

import hashlib
import subprocess
import sys
from pathlib import Path

from pipeline.base.files import to_json, write_atomic
from pipeline.base.params import nearest, parse_section
from pipeline.base.stage import STATE_FOLDER
from pipeline.base.yaml_file import read_yaml
from pipeline.errors import ParamsError, SubmitError, UnreachableError, redacted
from pipeline.job_server import JobState, Server
from pipeline.jobs.remote import check_remote
from pipeline.jobs.results import fetch_results, forget_results, lock_digest
from pipeline.jobs.tree import changes, commit, copy_tree
from pipeline.launch.resources import Resources
from pipeline.process.leftovers import scratch
from pipeline.registry.submission import SUBMISSION_NAME, Submission
from pipeline.repro.mend import mended
from pipeline.repro.side_by_side import check_jobs
from pipeline.repro.site_cache import use_site_cache
from pipeline.schema import check_params
from pipeline.storage import Storage
from pipeline.summary import summary

LAST = f"{STATE_FOLDER}/last-job"
ID_DIGITS = 12
TREE_ENTRYPOINT = "python -m pipeline.jobs.start"


def submit(
    root: Path, server: Server, targets: list[str], *, jobs: int = 1, dirty: bool, follow: bool
) -> None:
    """Send the tree, and follow the job until its results are here.

    The same tree and targets are the same job: while it runs, a second submission attaches to it.
    Raises SubmitError, UnreachableError, StorageError, ParamsError before anything is sent.
    """
    check_params(root / "params.yaml")
    check_targets(root, targets)
    check_jobs(jobs)
    storage = storage_url(root)
    mended(root)
    head, changed = commit(root), changes(root)
    if changed and not dirty:
        _confirm(changed)
    with scratch(root, "submit") as folder:
        tree = folder / "tree"
        copy_tree(root, tree)
        job, running = _name(tree, targets, server)
        if not running:
            check_remote(root)
            Storage(storage).check()
            _push(root)
            forget_results(job, storage)
            submission = Submission(
                job=job,
                targets=targets,
                jobs=jobs,
                storage=storage,
                lock=lock_digest(root),
                git_commit=head,
                git_dirty=bool(changed),
            )
            write_atomic(tree / SUBMISSION_NAME, to_json(submission.model_dump()))
            try:
                server.submit(
                    tree, job, TREE_ENTRYPOINT, {"git_commit": head, "git_dirty": str(bool(changed)).lower()}
                )
            except UnreachableError:
                if job not in server.jobs():  # the answer alone was lost, or another terminal was quicker
                    raise
    write_atomic(root / LAST, job)
    sys.stdout.write(
        f"{job} {'runs already' if running else 'was submitted'} at {server.address}; Ctrl-C leaves it "
        "running\n"
    )
    sys.stdout.flush()
    if follow:
        attach(root, server, job)


def attach(root: Path, server: Server, job: str | None) -> None:
    """Show a job's log until it is over, then bring its results here.

    Raises SubmitError if it failed or its results would replace others, UnreachableError after minutes of
    silence.
    """
    job, storage = job or last_job(root), storage_url(root)
    _known(server, job)
    try:
        state = server.follow(job)
    except KeyboardInterrupt:
        sys.exit(
            f"\n{job} goes on without this terminal; `espalier attach` shows it again, `espalier stop` ends "
            "it"
        )
    except UnreachableError as error:
        raise UnreachableError(
            f"{error}. When it answers, `espalier attach {job}` shows the job again"
        ) from error
    fetched = fetch_results(job, storage, root)
    if fetched:
        _pull(root)
    if state.status != "SUCCEEDED":
        raise SubmitError(
            f"{job} ended as {state.status}: {_why(state)}. What was complete is kept; submit again to go on"
        )
    if not fetched:
        raise SubmitError(
            f"{job} left nothing at {redacted(storage)}; is this the resources.storage that it was submitted "
            "with?"
        )
    whole = (root / "reports" / "verdict.json").exists()
    sys.stdout.write(f"{summary(root)}\n" if whole else f"{job} is done, and its results are here\n")


def logs(root: Path, server: Server, job: str | None) -> str:
    job = job or last_job(root)
    _known(server, job)
    return server.logs(job)


def stop(root: Path, server: Server, job: str | None) -> str:
    job = job or last_job(root)
    if _known(server, job):
        return f"{job} is over already"
    server.stop(job)
    return f"{job} was told to stop; what was complete is kept, and submitting again goes on from it"


def last_job(root: Path) -> str:
    path = root / LAST
    if not path.exists():
        raise SubmitError("nothing was submitted from this folder; name a job")
    return path.read_text(encoding="utf-8")


def check_targets(root: Path, targets: list[str]) -> None:
    stages = read_yaml(root / "dvc.yaml").get("stages", {})
    known = [name for name, stage in stages.items() if "foreach" not in stage]
    known += [f"{name}@{item}" for name, stage in stages.items() for item in stage.get("foreach", {})]
    for target in targets:
        if target not in known and target not in stages:
            raise SubmitError(f"dvc.yaml has no stage {target!r}{nearest(target, known)}")


def storage_url(root: Path) -> str:
    """Raises ParamsError if params.yaml names none."""
    resources = parse_section("resources", read_yaml(root / "params.yaml").get("resources"), Resources)
    if not resources.storage:
        raise ParamsError(
            "resources.storage is null; a cluster's nodes share no disk with this machine, so set it to "
            "s3://bucket/prefix or to a folder that all of them mount"
        )
    return resources.storage


def _name(tree: Path, targets: list[str], server: Server) -> tuple[str, bool]:
    """The job of this tree and these targets, and whether it runs; each later one has the next number."""
    digest = hashlib.sha256(to_json(targets).encode())
    for file in sorted(path for path in tree.rglob("*") if path.is_file()):
        digest.update(
            file.relative_to(tree).as_posix().encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest()
        )
    base = f"espalier-{digest.hexdigest()[:ID_DIGITS]}"
    jobs = server.jobs()
    number = 1
    while (job := f"{base}-{number}") in jobs:
        if not jobs[job].is_over:
            return job, True
        number += 1
    return job, False


def _known(server: Server, job: str) -> bool:
    """Whether the job is over. Raises SubmitError for one that the cluster does not know."""
    jobs = server.jobs()
    if job not in jobs:
        known = nearest(job, list(jobs)) if jobs else "; it has none"
        raise SubmitError(f"the cluster at {server.address} knows no job {job!r}{known}")
    return jobs[job].is_over


def _confirm(changed: list[str]) -> None:
    listed = "\n".join(f"  {line}" for line in changed)
    if not sys.stdin.isatty():
        raise SubmitError(
            f"these changes are not committed:\n{listed}\ncommit them, or add --dirty to send them along"
        )
    sys.stdout.write(f"not committed, and sent along:\n{listed}\nsubmit? [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise SubmitError("nothing was submitted")


def _why(state: JobState) -> str:
    """Ray's message without the end of the log, which was shown."""
    return state.message.partition(", last available logs")[0].strip() or "see its log"


def _push(root: Path) -> None:
    """Inputs and outputs that are here, so that the cluster need not make them again."""
    if said := _dvc(root, "push", "--quiet"):
        raise SubmitError(f"`dvc push` failed, so nothing was submitted: {said}")


def _pull(root: Path) -> None:
    """All that dvc.lock knows; stages that were not asked for, or not reached, have nothing to bring."""
    mended(root)
    if said := _dvc(root, "pull", "--quiet", "--allow-missing"):
        raise SubmitError(
            f"the job's results are in the DVC remote, but `dvc pull` failed; run it again: {said}"
        )


def _dvc(root: Path, *words: str) -> str:
    """What DVC says if it fails."""
    use_site_cache()
    command = [sys.executable, "-m", "dvc", *words]
    done = subprocess.run(command, cwd=root, stderr=subprocess.PIPE, text=True, check=False)
    return (redacted(" ".join(done.stderr.split())) or f"status {done.returncode}") if done.returncode else ""
