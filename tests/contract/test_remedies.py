"""Every command that a message names exists: its own program's parser takes it, and the stage, target or
folder is there.
"""

import re
import shlex
import sys
from argparse import ArgumentParser
from functools import cache
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml
from dvc.cli import DvcParserError
from dvc.cli.parser import get_main_parser

from pipeline.cli import parser
from tests.support.remedies import VALUE, remedies

ROOT = Path(__file__).parents[2]
OTHERS = {"git": {"init", "checkout", VALUE}, "ray": {"start", "status", "job"}}
"""Commands of programs whose parser we do not ask."""


def fault(command: str) -> str | None:
    """What is wrong with a command, or None.

    What a message leaves for the user to fill in may be missing at its end.
    """
    program, *arguments = shlex.split(command)
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        return None if set(arguments) <= set(targets) else "no such target"
    if program in OTHERS:
        return None if arguments[0] in OTHERS[program] else "no such command"
    if not any(_is_taken(program, [*arguments, *[VALUE] * number]) for number in range(3)):
        return "its own parser refuses it"
    return _unknown_stages(arguments[1:]) if program == "dvc" and arguments[0] == "repro" else None


def _is_taken(program: str, arguments: list[str]) -> bool:
    try:
        (parser() if program == "espalier" else _dvc()).parse_args(arguments)
    except (SystemExit, DvcParserError):
        return False
    return True


@cache
def _dvc() -> ArgumentParser:
    with patch.object(sys, "argv", ["dvc"]):  # some options of which it looks for while it is made
        made: ArgumentParser = get_main_parser()
    return made


def _unknown_stages(arguments: list[str]) -> str | None:
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    names = [word.partition("@")[0] for word in arguments if not word.startswith("-") and word != VALUE]
    return f"no such stage: {names}" if set(names) - set(stages) else None


def test_every_command_that_a_message_names_exists(capsys: pytest.CaptureFixture[str]) -> None:
    found = list(remedies(ROOT))
    assert len(found) > 40
    assert [f"{file}: {command}: {why}" for file, command in found if (why := fault(command))] == []


@pytest.mark.parametrize(
    "command",
    [
        "dvc repro -f -s prepar",
        "dvc rep",
        "espalier summry",
        "espalier weights --teachr x",
        "make repo",
        "ray begin",
        "dvc repro -z x",
    ],
)
def test_a_command_that_does_not_exist_is_found(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fault(command)
