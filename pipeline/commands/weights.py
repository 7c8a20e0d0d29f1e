"""`espalier weights`: what a training starts from or learns from, brought into data/."""

import argparse
from pathlib import Path

import shtab

from pipeline.commands.arguments import Commands, completed


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


def _weights(arguments: argparse.Namespace) -> None:
    # Here, because it imports torch, for seconds that no other command needs.
    from pipeline.pretrained.bring import bring, bring_teacher

    print((bring_teacher if arguments.teacher else bring)(arguments.source, Path()))
