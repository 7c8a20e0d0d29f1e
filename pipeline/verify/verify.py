"""Everything that dvc.lock and DVC's cache name, compared; what is damaged is named, or taken out."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.verify.named import Named, differing, is_as_run, md5, named_objects, object_digest, put_back

VERIFY_REMEDY = (
    "`espalier verify --mend` takes all of it out and puts back what is whole elsewhere; then run `dvc repro`"
)


CHANGED = (
    "not what the stages read that dvc.lock tells of; if you did not change it, bring it back from where it "
    "came (git, your data); else `dvc repro` runs what depends on it"
)


@dataclass
class Found:
    """objects, notes: damaged files of the cache.

    outs, inputs: by name, what of them is not as dvc.lock has it.
    """

    objects: list[Path] = field(default_factory=list)
    notes: list[Path] = field(default_factory=list)
    outs: dict[str, list[Path]] = field(default_factory=dict)
    inputs: dict[str, list[Path]] = field(default_factory=dict)
    read: int = 0
    size_bytes: int = 0

    def lines(self) -> Iterator[str]:
        """One for each finding."""
        yield from (
            f"{_here(path)}: damaged in DVC's cache: its content is not what its name says"
            for path in self.objects
        )
        yield from (f"{_here(path)}: damaged note of DVC's run cache" for path in self.notes)
        yield from (
            f"{path}: not what its stage left: damaged or edited"
            for paths in self.outs.values()
            for path in paths
        )
        yield from (f"{path}: {CHANGED}" for paths in self.inputs.values() for path in paths)

    @property
    def mendable(self) -> bool:
        return bool(self.objects or self.notes or self.outs)

    def __str__(self) -> str:
        count = sum(1 for _ in self.lines())
        said = (
            f"{count} of {self.read} are damaged or changed"
            if count
            else f"all {self.read} are as they were written"
        )
        return (
            f"outs, inputs and cached objects, {self.size_bytes / 1e6:,.0f} MB of them in the cache: {said}"
        )


def verify(root: Path, say: Callable[[str], None], *, mend: bool) -> bool:
    """Say what is damaged, and a summary; returns whether all is well, or was mended.

    mend: take out what is damaged, and put back what is whole in the workspace or the cache. Raises
    EspalierError.
    """
    with named_objects(root) as project:
        found = read_objects(project)
        for line in (*found.lines(), str(found)):
            say(line)
        if mend and found.mendable:
            for line in mend_objects(project, found):
                say(line)
        elif found.mendable:
            say(VERIFY_REMEDY)
    return not (found.inputs or (found.mendable and not mend))


def read_objects(project: Named) -> Found:
    """Read everything, the cache with as many threads as there are cores."""
    found = Found()
    objects = project.objects()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, digest in zip(objects, _shown(pool.map(md5, objects), len(objects)), strict=True):
            found.size_bytes += path.stat().st_size
            if digest != object_digest(path):
                found.objects.append(path)
    notes = project.notes()
    found.notes = [path for path in notes if not is_as_run(path)]
    found.outs = {name: paths for name, out in project.outs.items() if (paths := differing(out))}
    found.inputs = {name: paths for name, dep in project.inputs.items() if (paths := differing(dep))}
    found.read = len(objects) + len(notes) + len(project.outs) + len(project.inputs)
    return found


def mend_objects(project: Named, found: Found) -> Iterator[str]:
    """Take out what is damaged, put back what can be; says what became of it."""
    for path in (*found.objects, *found.notes):
        path.unlink()
        yield f"{_here(path)}: removed"
    for name in found.outs:
        project.outs[name].remove()
    for name, out in project.outs.items():
        if name in found.outs or (found.objects and out.exists):
            done = put_back(out)
            if done or name in found.outs:
                yield f"{name}: {done or 'removed; `dvc repro` makes it again, or `dvc pull` fetches it'}"


def _here(path: Path) -> str:
    return os.path.relpath(path)


def _shown(results: Iterable[str], total: int) -> Iterator[str]:
    """Results as they come, with a line on a terminal that says how far they are."""
    tell = sys.stderr.isatty()
    for number, result in enumerate(results, start=1):
        if tell:
            sys.stderr.write(f"\rread {number} of {total} objects" + ("\n" if number == total else ""))
        yield result
