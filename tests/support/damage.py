"""What happens to files: the writer of a checkpoint is killed while it writes, and any file loses bytes or
bits.
"""

import random
import time
from contextlib import suppress
from pathlib import Path

import psutil

from pipeline.train.checkpoints.local import MANIFEST_NAME, TENSORS_NAME

TIMEOUT_S = 30.0


def kill_in_write(writer: psutil.Process, checkpoints: Path) -> bool:
    """SIGKILL a process while it writes a checkpoint; False where it ended before, or began none in time.

    It is stopped first: so what it has begun and not finished is seen while nothing moves, and is what it
    leaves.
    """
    stale = begun(checkpoints)  # by writers that were killed before it
    deadline = time.monotonic() + TIMEOUT_S
    with suppress(psutil.NoSuchProcess):
        while time.monotonic() < deadline:
            if not begun(checkpoints) - stale:
                continue
            writer.suspend()
            while not _is_stopped(writer) and time.monotonic() < deadline:
                pass
            if _is_stopped(writer) and begun(checkpoints) - stale:
                writer.kill()
                return True
            writer.resume()
    return False


def begun(checkpoints: Path) -> set[Path]:
    """Folders of checkpoints that are not complete yet, also where nothing keeps them out of sight (a
    twin's).

    Of those in sight the newest alone can be new; an older one may be about to be removed.
    """
    hidden = {folder for folder in checkpoints.glob(".step-*.partial-*") if not folder.name.endswith("-old")}
    newest = sorted(checkpoints.glob("step-*"))[-1:]
    return {
        folder for folder in (*hidden, *newest) if folder.exists() and not (folder / MANIFEST_NAME).exists()
    }


def spoil_newest(checkpoints: Path, how: str, chance: random.Random) -> bool:
    """Truncate the newest checkpoint's tensors, or flip a bit of them; False where there is none."""
    newest = max(checkpoints.glob(f"step-*/{TENSORS_NAME}"), default=None)
    if newest is None:
        return False
    content = bytearray(newest.read_bytes())
    place = chance.randrange(len(content))
    if how == "truncated":
        del content[place:]
    else:
        content[place] ^= 1 << chance.randrange(8)
    newest.write_bytes(content)
    return True


def _is_stopped(process: psutil.Process) -> bool:
    """Whether none of its threads runs: one in a call to the kernel stops only after it."""
    with suppress(OSError):  # a thread that ends while it is looked at
        threads = list(Path(f"/proc/{process.pid}/task").glob("*/stat"))
        return bool(threads) and all(stat.read_text().rpartition(") ")[2].startswith("T") for stat in threads)
    return False


def flip(path: Path, share: float = 0.5) -> None:
    """Change one bit, that far into the file."""
    content = bytearray(path.read_bytes())
    content[min(int(share * len(content)), len(content) - 1)] ^= 1
    path.write_bytes(content)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def exchange(one: Path, other: Path) -> None:
    """Two files or folders take each other's name."""
    aside = one.with_name("aside")
    for old, new in ((one, aside), (other, one), (aside, other)):
        old.rename(new)


def edit(path: Path, before: str, after: str) -> None:
    """As somebody with an editor does. What is to be replaced has to be there."""
    text = path.read_text(encoding="utf-8")
    assert before in text, f"{path} has no {before}"
    path.write_text(text.replace(before, after, 1), encoding="utf-8")
