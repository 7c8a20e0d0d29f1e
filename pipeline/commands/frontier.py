"""`espalier frontier run | show`: many shapes of one dense model compared."""

import argparse
from pathlib import Path

import shtab

from pipeline.base.stage import STATE_FOLDER
from pipeline.commands.arguments import Commands, completed

FRONTIER = Path(STATE_FOLDER) / "frontier.png"


def add_frontier(commands: Commands) -> None:
    about = "compare many shapes: a sweep over ratios and modes as DVC experiments"
    verbs = commands.add_parser("frontier", help=about).add_subparsers(
        dest="verb", required=True, metavar="VERB"
    )
    _add_run(verbs)
    _add_show(verbs)


def _add_run(verbs: Commands) -> None:
    parser = verbs.add_parser(
        "run", help="make an experiment of each point that is none yet; killed, it goes on when run again"
    )
    parser.add_argument(
        "--set",
        dest="settings",
        action="append",
        required=True,
        metavar="KEY=VALUE,VALUE",
        help="values of a parameter, for example prune.target.macs=0.7,0.5; with several --set the product "
        "of all",
    )
    parser.add_argument(
        "--jobs", type=int, default=1, help="points at a time; each training takes what `resources` says"
    )
    parser.set_defaults(command=_run)


def _add_show(verbs: Commands) -> None:
    parser = verbs.add_parser(
        "show", help="table and picture of all points, and the smallest and fastest that keep an accuracy"
    )
    parser.add_argument(
        "--keep", type=float, default=0.99, help="fraction of dense's validation score to keep (%(default)s)"
    )
    parser.add_argument("--max-latency-ms", type=float, help="longest time of one image")
    parser.add_argument(
        "--variants", default="finetuned,quantized", help="which, with commas between (%(default)s)"
    )
    out = parser.add_argument(
        "--out", type=Path, default=FRONTIER, help="where the picture goes (%(default)s)"
    )
    completed(out, shtab.FILE)
    parser.set_defaults(command=_show)


def _run(arguments: argparse.Namespace) -> None:
    from pipeline.frontier.sweep import sweep

    sweep(Path(), arguments.settings, arguments.jobs)


def _show(arguments: argparse.Namespace) -> None:
    from pipeline.frontier.show import show

    table = show(
        Path(),
        keep=arguments.keep,
        max_ms=arguments.max_latency_ms,
        variants=[name for name in arguments.variants.split(",") if name],
        picture=arguments.out,
    )
    print(table)
