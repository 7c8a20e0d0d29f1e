"""`espalier --version` and `espalier completion`: what an installation says of itself."""

import argparse
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import shtab

from pipeline.commands.arguments import Commands

SHELLS = ("bash", "zsh", "tcsh")


def add_version(root: argparse.ArgumentParser) -> None:
    root.add_argument("--version", nargs=0, action=_Version, help="print the installed version and exit")


def add_completion(commands: Commands, root: argparse.ArgumentParser) -> None:
    """root: the parser of all commands, which the script then knows."""
    parser = commands.add_parser(
        "completion", help='print what completes commands in a shell: eval "$(espalier completion bash)"'
    )
    parser.add_argument("shell", choices=SHELLS)
    parser.set_defaults(command=lambda arguments: print(shtab.complete(root, arguments.shell)))


class _Version(argparse.Action):
    """Looked up only when asked for, because that reads the metadata of every package."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        print(f"{parser.prog} {installed_version()}")
        parser.exit()


def installed_version() -> str:
    try:
        return version("espalier")
    except PackageNotFoundError:
        return "from a folder that is not installed; `make setup` installs it"
