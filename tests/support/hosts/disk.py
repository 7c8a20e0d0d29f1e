"""What a host sees of this machine's disk: programs, all of it read-only, and empty folders of its own in
memory.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from tests.support.hosts.namespaces import Namespaces
from tests.support.places import ROOT

HOME = Path("/run/home")
STAGE = Path("/run/kept")
SYSTEM = ("/proc", "/sys", "/dev")
OPEN_MODE = "1777"


def separate(space: Namespaces, marker: str, visible: Sequence[Path], etc: Mapping[str, str]) -> None:
    """Give the namespaces a disk that they share with nobody: what is written there ends with them.

    Hidden are this project, temporary folders and the home folder; the interpreter, its environment and
    `visible` are bound back. Files of `etc` replace those of /etc, and change with /run/<name>. Every mount
    made here has `marker` as its source, by which what is left of a host can be found.
    """
    hidden = _outermost(_folders("/tmp", "/var/tmp", "/dev/shm", Path.home(), ROOT))
    wanted = [
        path for folder in [*visible, *interpreter()] for path in (folder, folder.resolve())
    ]  # a link may lead there
    kept = _outermost([folder for folder in wanted if _below(folder, hidden)])
    for partition in psutil.disk_partitions(all=True):
        if not _below(Path(partition.mountpoint), [Path(folder) for folder in SYSTEM]):
            space.call("mount", "-o", "remount,bind,ro", partition.mountpoint)
    _memory(space, Path("/run"), marker, "755")
    for number, folder in enumerate(kept):
        _folder(space, STAGE / str(number))
        space.call("mount", "--rbind", str(folder), str(STAGE / str(number)))
    for folder in hidden:
        _memory(space, folder, marker, OPEN_MODE)
    for number, folder in enumerate(kept):
        _folder(space, folder)
        space.call("mount", "--move", str(STAGE / str(number)), str(folder))
    _folder(space, HOME)
    for name, text in etc.items():
        space.path(f"/run/{name}").write_text(text)
        if not Path(f"/etc/{name}").is_symlink():  # where it leads below /run, it is hidden already
            space.call("mount", "--bind", f"/run/{name}", f"/etc/{name}")


def interpreter() -> list[Path]:
    """The folders without which this interpreter does not start: its environment, its own, and all that links
    lead through.
    """
    folders = [Path(sys.prefix), Path(sys.base_prefix)]
    link = Path(sys.executable)
    while link.is_symlink():
        link = link.parent / link.readlink()
        folders.append(link.parent.parent)
    return folders


def _folders(*names: str | Path) -> list[Path]:
    """Those of them that are folders; a home folder of / cannot be hidden."""
    return [Path(name).resolve() for name in names if Path(name).is_dir() and Path(name) != Path("/")]


def _outermost(folders: Sequence[Path]) -> list[Path]:
    """Each once, and none that lies in another."""
    return [
        folder
        for folder in dict.fromkeys(folders)
        if not _below(folder, [other for other in folders if other != folder])
    ]


def _below(path: Path, folders: Iterable[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _memory(space: Namespaces, folder: Path, marker: str, mode: str) -> None:
    space.call("mount", "-t", "tmpfs", "-o", f"mode={mode}", marker, str(folder))


def _folder(space: Namespaces, folder: Path) -> None:
    space.path(folder).mkdir(parents=True, exist_ok=True)
