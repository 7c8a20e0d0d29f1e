"""What an installation says of itself: its version, and what completes its commands in a shell."""

import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from pipeline.cli import parser
from pipeline.commands.installed import SHELLS

BASH = shutil.which("bash")
COMPLETE = """
source ./script
COMP_WORDS=(espalier "$@")
COMP_CWORD=$#
_shtab_espalier
printf '%s\\n' "${COMPREPLY[@]}"
"""
"""Bash calls the function that `complete -F` names with these variables, the last word being unfinished."""


def test_the_version_is_that_of_the_installed_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"espalier {version('espalier')}\n"


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    arguments = parser().parse_args(["completion", shell])
    arguments.command(arguments)
    return capsys.readouterr().out


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script_of_its_own(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    others = {script(other, capsys) for other in SHELLS if other != shell}
    assert "frontier" in script(shell, capsys)
    assert script(shell, capsys) not in others


@pytest.fixture
def project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    for path in ("presets/digits.yaml", "presets/cifar10.yaml", "stages/__init__.py", "stages/train.py"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "script").write_text(script("bash", capsys))
    return tmp_path


@pytest.mark.skipif(BASH is None, reason="needs bash")
@pytest.mark.parametrize(
    ("typed", "found"),
    [
        (["fro"], ["frontier"]),
        (["we"], ["weights"]),
        (["in"], ["init"]),
        (["frontier", "s"], ["show"]),
        (["frontier", "show", "--ke"], ["--keep"]),
        (["completion", ""], list(SHELLS)),
        (["preset", ""], ["cifar10", "digits"]),
        (["preset", "dig"], ["digits"]),
        (["repro", ""], ["train"]),
        (["submit", "tr"], ["train"]),
        (["weights", "presets/d"], ["presets/digits.yaml"]),
    ],
)
def test_bash_completes_commands_presets_and_stages(
    project: Path, typed: list[str], found: list[str]
) -> None:
    command = [str(BASH), "--norc", "-c", COMPLETE, "bash", *typed]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == sorted(found)


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_sourcing_the_script_is_enough(project: Path) -> None:
    done = subprocess.run(
        [str(BASH), "--norc", "-c", "source ./script; complete -p espalier"],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "-F _shtab_espalier espalier" in done.stdout
