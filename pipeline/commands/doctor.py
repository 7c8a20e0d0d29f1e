"""`espalier doctor`: what is wrong with an installation."""

import argparse
import sys
from pathlib import Path

from pipeline.commands.arguments import Commands


def add_doctor(commands: Commands) -> None:
    commands.add_parser(
        "doctor", help="check the installation, the machine and the services; say how to mend each"
    ).set_defaults(command=_doctor)


def _doctor(_: argparse.Namespace) -> None:
    from pipeline.doctor.examine import examine

    problems = 0
    for finding in examine(Path()):
        problems += finding.state == "problem"
        print(
            f"{finding.state:<9}{finding.name:<15}" + f"\n{'':<24}".join(finding.text.splitlines()),
            flush=True,
        )
    if problems:
        sys.exit(
            f"espalier doctor: {problems} problem{'s' if problems > 1 else ''}, each with its remedy above"
        )
