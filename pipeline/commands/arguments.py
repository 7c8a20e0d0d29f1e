"""What several commands take, and how a shell completes it."""

import argparse
from pathlib import Path
from typing import TypeAlias

import shtab

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
PARAMS = Path("params.yaml")
PRESETS = Path("presets")
PRESET_NAMES = shtab.cmd("cd presets 2>/dev/null && ls | cut -d. -f1")
STAGE_NAMES = shtab.cmd("cd stages 2>/dev/null && ls [a-z]*.py | cut -d. -f1")
"""Commands by which a shell finds what may come next, in the folder where it completes."""


def completed(argument: argparse.Action, by: shtab.CompleteType) -> None:
    """Let a shell complete the argument by one of the above or one of shtab's own."""
    argument.complete = by  # type: ignore[attr-defined]  # where shtab looks for it


def add_stages(parser: argparse.ArgumentParser, help: str) -> None:
    """Let a command take names of stages, all if none is given."""
    completed(parser.add_argument("targets", nargs="*", metavar="STAGE", help=help), STAGE_NAMES)
