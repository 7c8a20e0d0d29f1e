"""`espalier summary | sync | promote | ui`: what was measured, registered and tracked."""

import argparse
import os
import sys
from pathlib import Path

from pipeline.commands.arguments import Commands
from pipeline.errors import EspalierError
from pipeline.summary import summary
from pipeline.tracking.store import sync
from pipeline.tracking.ui import ui


def add_summary(commands: Commands) -> None:
    parser = commands.add_parser("summary", help="the table of all variants and the registered versions")
    parser.add_argument(
        "--judge", action="store_true", help="also judge who is champion, as `make repro` does"
    )
    parser.set_defaults(command=_summary)


def add_sync(commands: Commands) -> None:
    commands.add_parser(
        "sync", help="send to MLflow what is missing there, after an outage or a lost database"
    ).set_defaults(command=_sync)


def add_promote(commands: Commands) -> None:
    parser = commands.add_parser(
        "promote", help="make a registered version the champion, and record who did it and why"
    )
    parser.add_argument(
        "version",
        nargs="?",
        help="models:/<name>/<version> or models:/<name>@<alias>; without it the candidate of params.yaml",
    )
    parser.add_argument("--reason", help="what the record says; without it what both versions are worth")
    parser.set_defaults(command=_promote)


def add_ui(commands: Commands) -> None:
    parser = commands.add_parser("ui", help="MLflow UI, on loopback")
    parser.add_argument("--port", type=int, default=5000)
    parser.add_argument(
        "--host", default="127.0.0.1", help="another address of this machine; then it asks for an account"
    )
    parser.set_defaults(command=_ui)


def restore_versions(*, judge: bool) -> None:
    """Put back versions that the registry lacks.

    One that does not answer is told of, and no failure: it can be asked again.
    """
    from pipeline.registry.restore import VERDICT, restore

    try:
        sys.stdout.write("".join(f"{line}\n" for line in restore(Path(), judge=judge)))
    except EspalierError as error:
        sys.stderr.write(f"the registered versions were not compared with {VERDICT}: {error}\n")


def _summary(arguments: argparse.Namespace) -> None:
    print(summary(Path(), judge=arguments.judge))


def _sync(_: argparse.Namespace) -> None:
    print(sync(Path()))
    restore_versions(judge=False)


def _promote(arguments: argparse.Namespace) -> None:
    from pipeline.registry.promote import promote

    print(promote(Path(), arguments.version, arguments.reason))


def _ui(arguments: argparse.Namespace) -> None:
    server = ui(Path(), arguments.port, arguments.host)
    print(f"MLflow UI: {server.url}  (Ctrl-C ends it)", flush=True)
    os.execve(server.command[0], server.command, server.environment)
