"""How processes of ours end: one message or none, a status, no traceback."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.base.files import CURES
from pipeline.entry import _whole_name
from pipeline.errors import ParamsError
from pipeline.process.ending import tell
from tests.support.places import ROOT

PRINTS = "print('x' * 100_000)"
TELLS = """
import sys
from pipeline.process.ending import flushed, tell
try:
    with flushed():
        {body}
except BaseException as error:
    sys.exit(tell(error, "espalier x"))
"""


def unread(code: str) -> "subprocess.CompletedProcess[str]":
    """Of a program whose output goes into a pipe that nobody reads any more."""
    reads, writes = os.pipe()
    os.close(reads)
    try:
        words = [sys.executable, "-c", code]
        return subprocess.run(words, stdout=writes, stderr=subprocess.PIPE, text=True, check=False, cwd=ROOT)
    finally:
        os.close(writes)


@pytest.mark.parametrize("body", [PRINTS, "print('short')", "print('short'); sys.exit(3)"])
def test_a_reader_that_has_left_is_no_error(body: str) -> None:
    done = unread(TELLS.format(body=body))
    assert (done.returncode, done.stderr) == (141, "")
    assert "BrokenPipeError" in unread(body.replace("sys.exit(3)", "")).stderr


def test_the_command_line_may_be_cut_off() -> None:
    done = unread("import sys; sys.argv = ['espalier', '--help']; from pipeline.cli import main; main()")
    assert (done.returncode, done.stderr) in {(0, ""), (141, "")}  # argparse itself minds no pipe


@pytest.mark.parametrize("number", sorted(CURES))
def test_what_a_disk_refuses_is_named_with_its_cure(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(OSError(number, os.strerror(number), "/some/file"), "espalier x") == 1
    said = capsys.readouterr().err
    assert said.startswith("espalier x: /some/file: ")
    assert said.endswith("and run it again\n")


def test_a_write_without_a_name_names_the_folders(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left") as caught, Path("/dev/full").open("w") as full:
        full.write("x")
    assert tell(caught.value, "espalier x") == 1
    assert f"espalier x: {Path.cwd()} or " in capsys.readouterr().err


def test_messages_and_their_statuses(capsys: pytest.CaptureFixture[str]) -> None:
    assert tell(ParamsError("p.yaml: wrong"), "espalier x") == 1
    assert tell(KeyboardInterrupt(), "espalier x") == 130
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "espalier x: p.yaml: wrong",
        "espalier x: interrupted; the same command goes on from what is complete",
    ]


@pytest.mark.parametrize("error", [ZeroDivisionError(), SystemExit(2), OSError(errno.ECONNRESET, "reset")])
def test_an_error_in_this_program_keeps_its_traceback(error: BaseException) -> None:
    with pytest.raises(type(error)):
        tell(error, "espalier x")


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("evaluate", [], "usage: python -m stages.evaluate dense|pruned|finetuned|quantized"),
        (
            "evaluate",
            ["densee"],
            "there is no 'densee'; did you mean 'dense'?\nusage: python -m stages.evaluate dense|",
        ),
        ("evaluate", ["dense", "pruned"], "usage: "),
        ("train", ["dense"], "usage: python -m stages.train\n"),
    ],
)
def test_words_that_cannot_be_end_with_the_usage(
    name: str,
    words: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as caught:
        _whole_name(name, words)
    assert caught.value.code == 2
    assert said in capsys.readouterr().err


def test_words_that_name_a_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert _whole_name("evaluate", ["dense"]) == "evaluate@dense"
    assert _whole_name("train", []) == "train"


@pytest.mark.parametrize(
    "module", ["stages.evaluate", "pipeline.launch.driver", "pipeline.tracking.courier", "pipeline.repro.one"]
)
def test_a_process_without_its_words_says_which(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert f"usage: python -m {module}" in done.stderr.replace("one.py", "python -m pipeline.repro.one")
    assert "Traceback" not in done.stderr


def test_ctrl_c_among_the_imports_shows_no_traceback() -> None:
    words = [sys.executable, "-c", "import pipeline.process.environment; raise KeyboardInterrupt"]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (-2, "espalier: interrupted\n")
