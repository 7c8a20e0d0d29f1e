"""`espalier repro | check | mend | verify`: the line, what would stop it, and what it rests on."""

import argparse
import sys
from pathlib import Path

from pipeline.check.check import check
from pipeline.commands.arguments import PARAMS, Commands, add_stages
from pipeline.commands.registry import restore_versions
from pipeline.schema import check_params

REGISTER = "register"
"""The stage of which the registry is an effect outside its outs."""


def add_repro(commands: Commands) -> None:
    parser = commands.add_parser(
        "repro", help="`dvc repro`, with stages that do not need each other at the same time"
    )
    add_stages(parser, "stages to bring up to date, as for dvc repro; all without one")
    parser.add_argument(
        "--jobs", type=int, default=2, help="stages at a time (%(default)s); one that times runs alone"
    )
    parser.set_defaults(command=_repro)


def add_check(commands: Commands) -> None:
    commands.add_parser(
        "check", help="try in seconds what can be known to stop a later stage; stages do so by themselves"
    ).set_defaults(command=_check)


def add_mend(commands: Commands) -> None:
    commands.add_parser(
        "mend", help="make DVC's own files readable again if a kill or a full disk cut them off"
    ).set_defaults(command=_mend)


def add_verify(commands: Commands) -> None:
    parser = commands.add_parser(
        "verify", help="read all that dvc.lock and DVC's cache name, and compare it with its digests"
    )
    parser.add_argument(
        "--mend", action="store_true", help="take out what is damaged, and put back what is whole elsewhere"
    )
    parser.set_defaults(command=_verify)


def _repro(arguments: argparse.Namespace) -> None:
    from pipeline.repro.side_by_side import repro

    repro(Path(), arguments.targets, arguments.jobs)
    if not arguments.targets or REGISTER in arguments.targets:
        restore_versions(judge=True)


def _check(_: argparse.Namespace) -> None:
    check_params(PARAMS)
    print(check(Path()))


def _mend(_: argparse.Namespace) -> None:
    """Status 0 if anything was damaged, so that what failed because of it may be tried again."""
    from pipeline.repro.mend import mended

    if not mended(Path()):
        print("nothing of DVC's is damaged")
        sys.exit(1)


def _verify(arguments: argparse.Namespace) -> None:
    from pipeline.verify.verify import verify

    if not verify(Path(), print, mend=arguments.mend):
        sys.exit("espalier verify: not all is as it was written, see above")
