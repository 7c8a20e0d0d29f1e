"""The live line."""

import io
import json
import time
from pathlib import Path

from pipeline.tracking.progress import WRITE_EVERY_S, ProgressWriter, live_line, render


def test_the_live_line_reads_well() -> None:
    totals: dict[str, float | str] = {"epochs": 20, "steps": 180}
    now: dict[str, float | str] = {
        "epoch": 3,
        "step": 30,
        "images_per_s": 9120.4,
        "loss": 0.41211,
        "validation": "val score 0.9120",
        "eta_s": 72.0,
    }
    line = render("train", {**totals, **now})
    assert line == "train  epoch 3/20  step 30/180  9,120 images/s  loss 0.4121  val score 0.9120  left 1:12"


def test_a_log_file_gets_whole_lines_and_the_last_state(tmp_path: Path) -> None:
    out = io.StringIO()
    with live_line(tmp_path, "train", out):
        writer = ProgressWriter(tmp_path, epochs=2, steps=8, first_step=0)
        writer.note = "goes on elsewhere"
        writer.write(epoch=2, step=8, loss=0.5)
        time.sleep(1.5 * WRITE_EVERY_S)
    assert out.getvalue().endswith("left 0:00\n")
    assert out.getvalue().count("espalier train: goes on elsewhere\n") == 1
    assert "\r" not in out.getvalue()
    assert json.loads((tmp_path / "progress.json").read_text())["step"] == 8
