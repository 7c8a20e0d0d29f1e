"""`espalier weights`: what a training starts from or learns from, brought into data/."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import shtab

from pipeline.commands.arguments import Commands, completed
from pipeline.process.ending import USAGE


def add_weights(commands: Commands) -> None:
    parser = commands.add_parser(
        "weights", help="bring weights to train from into data/init, or a teacher into data/teacher"
    )
    source = parser.add_argument(
        "source",
        metavar="SOURCE",
        help="pretrained (of model.name), models:/<name>@<alias>, a model folder or a .safetensors file",
    )
    completed(source, shtab.FILE)
    parser.add_argument(
        "--teacher", action="store_true", help="a whole model to distil from: models:/... or a model folder"
    )
    parser.set_defaults(command=_weights)


def add_init(commands: Commands) -> None:
    """The name that `weights` had. It stands in no help, and whatever follows it ends in one message."""
    commands.add_parser("init", add_help=False).add_argument("source", nargs="*", action=_Renamed)


class _Renamed(argparse.Action):
    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        parser.exit(
            USAGE,
            f"{parser.prog}: weights and teachers are brought by `espalier weights SOURCE` now, with "
            "--teacher for a teacher; nothing was changed\n",
        )


def _weights(arguments: argparse.Namespace) -> None:
    # Here, because it imports torch, for seconds that no other command needs.
    from pipeline.pretrained.bring import bring, bring_teacher

    print((bring_teacher if arguments.teacher else bring)(arguments.source, Path()))
