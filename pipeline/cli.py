"""The command line: `espalier COMMAND ...`. What each command does is in commands/."""

import argparse
import sys

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.commands.doctor import add_doctor
from pipeline.commands.frontier import add_frontier
from pipeline.commands.installed import add_completion, add_version
from pipeline.commands.jobs import add_attach, add_logs, add_stop, add_submit
from pipeline.commands.params import add_init, add_preset, add_schema
from pipeline.commands.registry import add_promote, add_summary, add_sync, add_ui
from pipeline.commands.repro import add_check, add_mend, add_repro, add_verify
from pipeline.commands.weights import add_weights
from pipeline.process.ending import flushed, tell

ADDS = (
    add_init,
    add_preset,
    add_schema,
    add_weights,
    add_repro,
    add_check,
    add_mend,
    add_verify,
    add_summary,
    add_sync,
    add_promote,
    add_ui,
    add_submit,
    add_attach,
    add_logs,
    add_stop,
    add_frontier,
    add_doctor,
)
"""What adds each command, in the order of the help."""


def main() -> None:
    name = "espalier"
    try:
        with flushed():
            arguments = parser().parse_args()
            name = f"espalier {arguments.name}"
            arguments.command(arguments)
    except BaseException as error:  # those of this program go on from there, with their traceback
        sys.exit(tell(error, name))


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(
        prog="espalier", description="Train on a Ray cluster, prune to shape, register what fits."
    )
    add_version(root)
    commands = root.add_subparsers(dest="name", required=True, metavar="COMMAND")
    for add in ADDS:
        add(commands)
    add_completion(commands, root)
    return root


if __name__ == "__main__":
    main()
