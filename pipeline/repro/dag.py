"""DVC's own plan of a repro, and one stage of it: what it would look at, in which order, what has changed.

The plan, the locks and the words for what is wrong are DVC's, so that nothing here can differ from `dvc
repro`.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.base.files import write_atomic
from pipeline.errors import EspalierError
from pipeline.git import git_if_it_can
from pipeline.repro.site_cache import use_site_cache

LOCK = "dvc.lock"
COLOUR = re.compile(r"\x1b\[\d+m")


@dataclass(frozen=True)
class Step:
    """A stage of dvc.yaml, or a file that `dvc add` tracks.

    before: names of the steps that make what it reads. changed: DVC would run it as things are now.
    alone: it times, so that nothing may run beside it. known: dvc.lock has it.
    """

    name: str
    before: frozenset[str]
    changed: bool
    alone: bool
    known: bool


def plan(root: Path, targets: Sequence[str], *, pull: bool) -> list[Step]:
    """What `dvc repro` would look at, in its order. Raises EspalierError with DVC's reason if it cannot tell.

    pull: as for --pull --allow-missing: files that are only in the remote count as present.
    """
    from dvc.repo.reproduce import collect_stages, get_active_graph, plan_repro
    from dvc.stage.cache import RunCacheNotSupported

    with opened(root) as repo:
        if pull:
            with suppress(RunCacheNotSupported):  # of a remote that cannot be listed
                repo.stage_cache.pull(None)
        graph = get_active_graph(repo.index.graph)
        stages = plan_repro(graph, collect_stages(repo, targets or ["dvc.yaml"]))
        known = entries(root)
        return [
            Step(
                name=stage.addressing,
                before=frozenset(other.addressing for other in graph.successors(stage)),
                changed=stage.changed(allow_missing=pull, upstream=list(graph.successors(stage))),
                alone=(stage.meta or {}).get("machine") == "alone",
                known=stage.addressing in known,
            )
            for stage in stages
        ]


def make(root: Path, name: str, *, pull: bool) -> None:
    """What `dvc repro` does with one step when those before it are done.

    Raises EspalierError with DVC's reason.
    """
    from dvc.repo.reproduce import collect_stages, get_active_graph

    with opened(root) as repo, repo.scm_context(quiet=True):
        (stage,) = collect_stages(repo, [name])
        upstream = list(get_active_graph(repo.index.graph).successors(stage))
        if stage.reproduce(upstream=upstream, pull=pull, allow_missing=pull):
            stage.dump(update_pipeline=False)


def settle_lock(root: Path, steps: Sequence[Step]) -> None:
    """Sort what is new in dvc.lock as `dvc repro` adds it; else the file would tell who was quicker."""
    from dvc.utils.serialize import dumps_yaml

    with opened(root):
        lock = _read(root)
        stages = lock.get("stages", {})
        new = [step.name for step in steps if step.name in stages and not step.known]
        if new and list(stages)[-len(new) :] != new:
            for name in new:
                stages[name] = stages.pop(name)
            write_atomic(root / LOCK, dumps_yaml(lock))


def entries(root: Path) -> dict[str, Any]:
    """What dvc.lock says of each stage."""
    found: dict[str, Any] = _read(root).get("stages", {})
    return found


def forget(root: Path, names: Sequence[str]) -> None:
    """Take stages out of dvc.lock, as if they had never run."""
    from dvc.utils.serialize import dumps_yaml

    with opened(root):
        lock = _read(root)
        for name in names:
            del lock["stages"][name]
        write_atomic(root / LOCK, dumps_yaml(lock))


def is_readable(root: Path) -> bool:
    """Whether DVC can read dvc.lock, or there is none."""
    from dvc.exceptions import DvcException
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from dvc.utils.strictyaml import load

    path = root / LOCK
    try:
        return not path.exists() or bool(load(str(path), COMPILED_LOCKFILE_SCHEMA))
    except DvcException:
        return False


def committed(root: Path) -> str | None:
    """dvc.lock as git has it; None if there is no such."""
    return git_if_it_can(root, "show", f"HEAD:./{LOCK}")


def places(root: Path) -> tuple[Path, Path]:
    """DVC's cache of files, and its notes of runs. Raises EspalierError for DVC's errors."""
    from dvc.repo import Repo

    use_site_cache()
    with _explained(), Repo(str(root)) as repo:
        return Path(repo.cache.local.path), Path(repo.stage_cache.cache_dir)


def _read(root: Path) -> dict[str, Any]:
    from dvc.utils.serialize import parse_yaml_for_update

    path = root / LOCK
    read: dict[str, Any] = (
        parse_yaml_for_update(path.read_text(encoding="utf-8"), str(path)) if path.exists() else {}
    )
    return read


@contextmanager
def opened(root: Path) -> Iterator[Any]:
    """DVC's view of the project, which no other `dvc` changes. Raises EspalierError for DVC's errors.

    It waits for the lock: a dvc that finds it taken for 3 s when a command has ended throws the results away.
    """
    from dvc.repo import Repo, lock_repo

    use_site_cache()
    with _explained(), Repo(str(root), _wait_for_lock=True) as repo, lock_repo(repo):
        yield repo


@contextmanager
def _explained() -> Iterator[None]:
    """Around what DVC does: raises EspalierError with its reason."""
    from dvc.exceptions import DvcException

    try:
        yield
    except DvcException as error:
        raise EspalierError(" ".join(COLOUR.sub("", str(error)).split())) from error
