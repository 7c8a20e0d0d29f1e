"""What dvc.lock and DVC's cache name, and DVC's own ways to compare it and to put it back. A door to dvc.

DVC trusts what it once wrote: objects of mode 0444, and files whose size and times have not changed. Here all
is read.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.repro.dag import opened


class Named:
    """outs, inputs: what dvc.lock has digests of, as DVC sees it; an input that is an out is an out."""

    def __init__(self, repo: Any) -> None:
        from dvc.dependency.param import ParamsDependency

        self._repo = repo
        stages = repo.index.stages
        outs = [out for stage in stages for out in stage.outs if out.hash_info]
        deps = [
            dep
            for stage in stages
            for dep in stage.deps
            if dep.hash_info and not isinstance(dep, ParamsDependency)
        ]
        self.outs = {str(out): out for out in outs}
        self.inputs = {str(dep): dep for dep in deps if str(dep) not in self.outs}

    def objects(self) -> list[Path]:
        """Files of the cache, each named by its content."""
        folder = Path(self._repo.cache.local.path)
        return sorted(
            path for path in folder.glob("[0-9a-f][0-9a-f]/*") if _is_name(path.name.removesuffix(".dir"))
        )

    def notes(self) -> list[Path]:
        """Files of the run cache, by which DVC brings a stage's outs back instead of running it."""
        return sorted(Path(self._repo.stage_cache.cache_dir).glob("[0-9a-f][0-9a-f]/*/*"))


@contextmanager
def named_objects(root: Path) -> Iterator[Named]:
    """Raises EspalierError for DVC's errors. No other dvc command changes anything meanwhile."""
    from dvc_data.hashfile.state import StateNoop

    with opened(root) as repo:
        repo.cache.local.state = StateNoop()  # else digests would come from a table of sizes and times
        yield Named(repo)


def object_digest(path: Path) -> str:
    """The name that an object's content would have."""
    return path.parent.name + path.name.removesuffix(".dir")


def is_as_run(note: Path) -> bool:
    """Whether a note of the run cache is what DVC wrote."""
    from dvc.stage.cache import _get_cache_hash
    from dvc.utils.serialize import YAMLFileCorruptedError, load_yaml

    try:
        content = load_yaml(str(note))
        return bool(
            _get_cache_hash(content) == note.name and _get_cache_hash(content, key=True) == note.parent.name
        )
    except (YAMLFileCorruptedError, OSError, AttributeError, TypeError, KeyError, ValueError):
        return False


def differing(entry: Any) -> list[Path]:
    """What of an out or input is not as dvc.lock has it: a folder's files, or the folder if none is known."""
    if not entry.exists or entry.get_hash() == entry.hash_info:
        return []
    path = Path(str(entry))
    known = entry.get_obj() if entry.hash_info.isdir else None
    wrong = [
        path.joinpath(*key) for key, _, digest in known or () if _md5_of(path.joinpath(*key)) != digest.value
    ]
    return wrong or [path]


def md5(path: Path) -> str:
    """DVC's digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def put_back(out: Any) -> str | None:
    """Bring what is whole of an out to workspace or cache; says what was done, None if nothing could be."""
    missing = out.changed_cache()
    if out.exists and missing:
        out.commit(relink=False)
        return "put back into the cache"
    if not out.exists and not missing:
        out.checkout(force=True)
        return "put back from the cache"
    return None


def _md5_of(path: Path) -> str | None:
    return md5(path) if path.is_file() else None


def _is_name(name: str) -> bool:
    return len(name) == 30 and not set(name) - set("0123456789abcdef")
