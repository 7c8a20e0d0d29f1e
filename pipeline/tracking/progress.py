"""The live line of a training run: written by rank 0 to a small file, shown by the process that waits.

It shows results and makes none: no stage depends on this file.
"""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

WRITE_EVERY_S = 0.5
LOG_EVERY_S = 10.0


class ProgressWriter:
    """Rank 0's side. `epochs` and `steps` are the totals of the run; speed is counted from this start on."""

    def __init__(self, run_dir: Path, *, epochs: int, steps: int, first_step: int) -> None:
        self._path = run_dir / "progress.json"
        self._totals = {"epochs": epochs, "steps": steps}
        self._first_step = first_step
        self._started = self._written = time.monotonic()
        self._num_images = 0
        self.validation = ""
        self.note = ""
        """What the user should know once, in a line of its own."""

    def due(self, num_images: int) -> bool:
        """Count images; True at most every half second, so that the loss is rarely read off the device."""
        self._num_images += num_images
        return time.monotonic() - self._written >= WRITE_EVERY_S

    @property
    def images_per_s(self) -> float:
        return self._num_images / max(1e-9, time.monotonic() - self._started)

    def write(self, *, epoch: int, step: int, loss: float) -> None:
        self._written = time.monotonic()
        num_steps = max(1, step - self._first_step)
        eta_s = (self._totals["steps"] - step) * (self._written - self._started) / num_steps
        values = {
            "epoch": epoch,
            "step": step,
            "loss": loss,
            "images_per_s": self.images_per_s,
            "eta_s": eta_s,
        }
        # Not write_atomic: its two flushes to the disk would hold up every rank, and nobody misses this file
        # after a crash.
        partial = self._path.with_suffix(".partial")
        with suppress(OSError):  # of a full disk the next checkpoint tells
            partial.write_text(
                json.dumps({**self._totals, **values, "validation": self.validation, "note": self.note}),
                encoding="utf-8",
            )
            partial.replace(self._path)


@contextmanager
def live_line(run_dir: Path, name: str, out: TextIO) -> Iterator[None]:
    """Show the run's live line while the block runs: in place in a terminal, every ten seconds in a log."""
    (run_dir / "progress.json").unlink(missing_ok=True)  # an attempt before this one may have left its line
    stop = threading.Event()
    thread = threading.Thread(
        target=_show, args=(run_dir / "progress.json", name, out, stop), daemon=True, name="progress"
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def render(name: str, values: dict[str, float | str]) -> str:
    """One line, for example `train  epoch 3/20  step 30/180  9,120 images/s  loss 0.4121  val
    score 0.9120  left 0:12`.
    """
    minutes, seconds = divmod(round(float(values["eta_s"])), 60)
    parts = [
        name,
        f"epoch {values['epoch']}/{values['epochs']}",
        f"step {values['step']}/{values['steps']}",
        f"{values['images_per_s']:,.0f} images/s",
        f"loss {values['loss']:.4f}",
        str(values["validation"]),
        f"left {minutes}:{seconds:02d}",
    ]
    return "  ".join(part for part in parts if part)


def _show(path: Path, name: str, out: TextIO, stop: threading.Event) -> None:
    terminal = out.isatty()
    over = "\r\x1b[2K" if terminal else ""
    shown_line = shown_note = ""
    next_log = time.monotonic() + (0.0 if terminal else LOG_EVERY_S)
    is_over = False
    while not is_over:
        is_over = stop.wait(WRITE_EVERY_S)
        line, note = _read(path, name)
        if note and note != shown_note:
            out.write(f"{over}espalier {name}: {note}\n")
            shown_note = note
        if line and (is_over or (line != shown_line and time.monotonic() >= next_log)):
            out.write(over + line + ("" if terminal and not is_over else "\n"))
            shown_line = line
            next_log = time.monotonic() + (0.0 if terminal else LOG_EVERY_S)
        out.flush()


def _read(path: Path, name: str) -> tuple[str, str]:
    """The live line and the note, as far as there are any."""
    if not path.exists():
        return "", ""
    values = json.loads(path.read_text(encoding="utf-8"))
    return render(name, values), values["note"]
