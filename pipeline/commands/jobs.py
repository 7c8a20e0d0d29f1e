"""`espalier submit | attach | logs | stop`: the same repro on a Ray cluster."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.base.yaml_file import read_yaml
from pipeline.check.check import check_elsewhere
from pipeline.commands.arguments import PARAMS, Commands, add_stages
from pipeline.schema import check_params

JOB_SERVER = "http://127.0.0.1:8265"
"""Address of a cluster whose head is here, or at the other end of a tunnel."""


def add_submit(commands: Commands) -> None:
    parser = commands.add_parser(
        "submit", help="run `dvc repro` on a Ray cluster, and bring its results back"
    )
    add_stages(parser, "stages to run, as for dvc repro; all without one")
    parser.add_argument(
        "--jobs", type=int, default=1, help="stages at a time, as for espalier repro (%(default)s)"
    )
    parser.add_argument(
        "--dirty", action="store_true", help="send changes that are not committed along, without asking"
    )
    parser.add_argument("--detach", action="store_true", help="do not follow the job")
    _add_address(parser)
    parser.set_defaults(command=_submit)


def add_attach(commands: Commands) -> None:
    _add_job_command(commands, "attach", _attach, "follow a submitted job, and bring its results back")


def add_logs(commands: Commands) -> None:
    _add_job_command(commands, "logs", _logs, "print what a submitted job has printed")


def add_stop(commands: Commands) -> None:
    _add_job_command(commands, "stop", _stop, "end a submitted job; what is complete is kept")


def _add_job_command(
    commands: Commands, name: str, command: Callable[[argparse.Namespace], None], help: str
) -> None:
    parser = commands.add_parser(name, help=help)
    parser.add_argument(
        "job", nargs="?", help="as submit printed it; the last one submitted from here without it"
    )
    _add_address(parser)
    parser.set_defaults(command=command)


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--address", default=os.environ.get("RAY_API_SERVER_ADDRESS", JOB_SERVER), help="job server"
    )


def _submit(arguments: argparse.Namespace) -> None:
    from pipeline.job_server import JobServer
    from pipeline.jobs.verbs import submit

    check_params(PARAMS)
    check_elsewhere(Path(), [read_yaml(PARAMS)])
    server, follow = JobServer(arguments.address), not arguments.detach
    submit(Path(), server, arguments.targets, jobs=arguments.jobs, dirty=arguments.dirty, follow=follow)


def _attach(arguments: argparse.Namespace) -> None:
    from pipeline.job_server import JobServer
    from pipeline.jobs.verbs import attach

    attach(Path(), JobServer(arguments.address), arguments.job)


def _logs(arguments: argparse.Namespace) -> None:
    from pipeline.job_server import JobServer
    from pipeline.jobs.verbs import logs

    sys.stdout.write(logs(Path(), JobServer(arguments.address), arguments.job))


def _stop(arguments: argparse.Namespace) -> None:
    from pipeline.job_server import JobServer
    from pipeline.jobs.verbs import stop

    print(stop(Path(), JobServer(arguments.address), arguments.job))
