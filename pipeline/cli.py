"""The command line: `espalier preset | init | check | repro | verify | mend | summary | sync | promote | ...
| doctor`.
"""

import argparse
import filecmp
import json
import os
import sys
from pathlib import Path

import pipeline.process.environment  # noqa: F401 - first: it settles what the others read
from pipeline.check.check import check, check_elsewhere
from pipeline.errors import EspalierError, ParamsError
from pipeline.files import to_json, write_atomic
from pipeline.params import nearest, read_yaml
from pipeline.process.ending import flushed, tell
from pipeline.schema import check_params, json_schema
from pipeline.stage import STATE_FOLDER
from pipeline.summary import summary
from pipeline.tracking.store import sync
from pipeline.tracking.ui import ui

PARAMS = Path("params.yaml")
SCHEMA = Path("params.schema.json")
PRESETS = Path("presets")
FRONTIER = Path(STATE_FOLDER) / "frontier.png"
VERDICT = "reports/verdict.json"
REGISTER = "register"
"""The stage of which the registry is an effect outside its outs."""
JOB_SERVER = "http://127.0.0.1:8265"
"""Of a cluster whose head is here, or at the other end of a tunnel."""


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
    commands = root.add_subparsers(dest="name", required=True, metavar="COMMAND")

    preset = commands.add_parser("preset", help="replace params.yaml by a preset")
    preset.add_argument("preset", help=f"one of {', '.join(_presets())}")
    preset.add_argument("--force", action="store_true", help="also replace a params.yaml that you edited")
    preset.set_defaults(command=_preset)

    schema = commands.add_parser(
        "schema", help="write params.schema.json, by which editors complete and check params.yaml"
    )
    schema.add_argument(
        "--check", action="store_true", help="write nothing; fail where the file is out of date"
    )
    schema.set_defaults(command=_schema)

    init = commands.add_parser(
        "init", help="bring weights to train from into data/init, or a teacher into data/teacher"
    )
    init.add_argument(
        "source",
        help="pretrained (of model.name), models:/<name>@<alias>, a model folder or a .safetensors file",
    )
    init.add_argument(
        "--teacher", action="store_true", help="a whole model to distil from: models:/... or a model folder"
    )
    init.set_defaults(command=_init)

    again = commands.add_parser(
        "repro", help="`dvc repro`, with stages that do not need each other at the same time"
    )
    again.add_argument(
        "targets",
        nargs="*",
        metavar="STAGE",
        help="stages to bring up to date, as for dvc repro; all without one",
    )
    again.add_argument(
        "--jobs", type=int, default=2, help="stages at a time (%(default)s); one that times runs alone"
    )
    again.set_defaults(command=_repro)

    look = commands.add_parser(
        "check", help="try in seconds what can be known to stop a later stage; stages do so by themselves"
    )
    look.set_defaults(command=_check)

    whole = commands.add_parser(
        "mend", help="make DVC's own files readable again, where a kill or a full disk cut them off"
    )
    whole.set_defaults(command=_mend)

    show = commands.add_parser("summary", help="the table of all variants and the registered versions")
    show.add_argument("--judge", action="store_true", help="also judge who is champion, as `make repro` does")
    show.set_defaults(command=lambda arguments: print(summary(Path(), judge=arguments.judge)))

    send = commands.add_parser(
        "sync", help="send to MLflow what is missing there, after an outage or a lost database"
    )
    send.set_defaults(command=_sync)

    crown = commands.add_parser(
        "promote", help="make a registered version the champion, and record who did it and why"
    )
    crown.add_argument(
        "version",
        nargs="?",
        help="models:/<name>/<version> or models:/<name>@<alias>; without it the candidate of params.yaml",
    )
    crown.add_argument("--reason", help="what the record says; without it what both versions are worth")
    crown.set_defaults(command=_promote)

    _add_job_commands(commands)
    _add_frontier_commands(commands)
    show_runs = commands.add_parser("ui", help="MLflow UI, on loopback")
    show_runs.add_argument("--port", type=int, default=5000)
    show_runs.add_argument(
        "--host", default="127.0.0.1", help="another address of this machine; then it asks for an account"
    )
    show_runs.set_defaults(command=_ui)

    look = commands.add_parser(
        "verify", help="read all that dvc.lock and DVC's cache name, and compare it with its digests"
    )
    look.add_argument(
        "--mend", action="store_true", help="take out what is damaged, and put back what is whole elsewhere"
    )
    look.set_defaults(command=_verify)

    doctor = commands.add_parser(
        "doctor", help="check the installation, the machine and the services; say how to mend each"
    )
    doctor.set_defaults(command=_doctor)
    return root


def _add_job_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    send = commands.add_parser("submit", help="run `dvc repro` on a Ray cluster, and bring its results back")
    send.add_argument(
        "targets", nargs="*", metavar="STAGE", help="stages to run, as for dvc repro; all without one"
    )
    send.add_argument(
        "--jobs", type=int, default=1, help="stages at a time, as for espalier repro (%(default)s)"
    )
    send.add_argument(
        "--dirty", action="store_true", help="send changes that are not committed along, without asking"
    )
    send.add_argument("--detach", action="store_true", help="do not follow the job")
    send.set_defaults(command=_submit)

    attach = commands.add_parser("attach", help="follow a submitted job, and bring its results back")
    logs = commands.add_parser("logs", help="print what a submitted job has printed")
    stop = commands.add_parser("stop", help="end a submitted job; what is complete is kept")
    for command, does in ((attach, _attach), (logs, _logs), (stop, _stop)):
        command.add_argument(
            "job", nargs="?", help="as submit printed it; the last one submitted from here without it"
        )
        command.set_defaults(command=does)
    for command in (send, attach, logs, stop):
        command.add_argument(
            "--address", default=os.environ.get("RAY_API_SERVER_ADDRESS", JOB_SERVER), help="job server"
        )


def _add_frontier_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    about = "compare many shapes: a sweep over ratios and modes as DVC experiments"
    verbs = commands.add_parser("frontier", help=about).add_subparsers(
        dest="verb", required=True, metavar="VERB"
    )

    run = verbs.add_parser(
        "run", help="make an experiment of each point that is none yet; killed, it goes on when run again"
    )
    run.add_argument(
        "--set",
        dest="settings",
        action="append",
        required=True,
        metavar="KEY=VALUE,VALUE",
        help="values of a parameter, for example prune.target.macs=0.7,0.5; with several --set the product "
        "of all",
    )
    run.add_argument(
        "--jobs", type=int, default=1, help="points at a time; each training takes what `resources` says"
    )
    run.set_defaults(command=_frontier_run)

    show = verbs.add_parser(
        "show", help="table and picture of all points, and the smallest and fastest that keep an accuracy"
    )
    show.add_argument(
        "--keep", type=float, default=0.99, help="fraction of dense's validation top-1 to keep (%(default)s)"
    )
    show.add_argument("--max-latency-ms", type=float, help="longest time of one image")
    show.add_argument(
        "--variants", default="finetuned,quantized", help="which, with commas between (%(default)s)"
    )
    show.add_argument("--out", type=Path, default=FRONTIER, help="where the picture goes (%(default)s)")
    show.set_defaults(command=_frontier_show)


def _check(_: argparse.Namespace) -> None:
    check_params(PARAMS)
    print(check(Path()))


def _repro(arguments: argparse.Namespace) -> None:
    from pipeline.repro.side_by_side import repro

    repro(Path(), arguments.targets, arguments.jobs)
    if not arguments.targets or REGISTER in arguments.targets:
        _restore(judge=True)


def _sync(_: argparse.Namespace) -> None:
    print(sync(Path()))
    _restore(judge=False)


def _restore(*, judge: bool) -> None:
    """A registry that does not answer is told of, and no failure: it can be asked again."""
    from pipeline.registry.restore import restore

    try:
        sys.stdout.write("".join(f"{line}\n" for line in restore(Path(), judge=judge)))
    except EspalierError as error:
        sys.stderr.write(f"the registered versions were not compared with {VERDICT}: {error}\n")


def _promote(arguments: argparse.Namespace) -> None:
    from pipeline.registry.promote import promote

    print(promote(Path(), arguments.version, arguments.reason))


def _mend(_: argparse.Namespace) -> None:
    """Status 0 if anything was damaged, so that what failed because of it may be tried again."""
    from pipeline.repro.mend import mended

    if not mended(Path()):
        print("nothing of DVC's is damaged")
        sys.exit(1)


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


def _frontier_run(arguments: argparse.Namespace) -> None:
    from pipeline.frontier.sweep import sweep

    sweep(Path(), arguments.settings, arguments.jobs)


def _frontier_show(arguments: argparse.Namespace) -> None:
    from pipeline.frontier.show import show

    variants = [name for name in arguments.variants.split(",") if name]
    print(
        show(
            Path(),
            keep=arguments.keep,
            max_ms=arguments.max_latency_ms,
            variants=variants,
            picture=arguments.out,
        )
    )


def _presets() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def _preset(arguments: argparse.Namespace) -> None:
    chosen = PRESETS / f"{arguments.preset}.yaml"
    if arguments.preset not in _presets():
        raise ParamsError(f"unknown preset {arguments.preset!r}{nearest(arguments.preset, _presets())}")
    edited = PARAMS.exists() and not any(
        filecmp.cmp(PARAMS, PRESETS / f"{name}.yaml", shallow=False) for name in _presets()
    )
    if edited and not arguments.force:
        raise ParamsError(
            "params.yaml has edits of yours that the preset would overwrite; keep a copy, then add --force"
        )
    check_params(chosen)
    write_atomic(PARAMS, chosen.read_bytes())
    print(f"params.yaml is now the preset {arguments.preset!r}; `make repro` runs what that changes")


def _init(arguments: argparse.Namespace) -> None:
    # Which import torch, for seconds that no other command needs.
    from pipeline.pretrained.bring import bring, bring_teacher

    print((bring_teacher if arguments.teacher else bring)(arguments.source, Path()))


def _schema(arguments: argparse.Namespace) -> None:
    text = to_json(json_schema())
    if not arguments.check:
        write_atomic(SCHEMA, text)
    elif not SCHEMA.exists() or json.loads(SCHEMA.read_text(encoding="utf-8")) != json.loads(text):
        raise ParamsError(f"{SCHEMA} is out of date; run `espalier schema` and commit it")


def _ui(arguments: argparse.Namespace) -> None:
    server = ui(Path(), arguments.port, arguments.host)
    print(f"MLflow UI: {server.url}  (Ctrl-C ends it)", flush=True)
    os.execve(server.command[0], server.command, server.environment)


def _verify(arguments: argparse.Namespace) -> None:
    from pipeline.verify.verify import verify

    if not verify(Path(), print, mend=arguments.mend):
        sys.exit("espalier verify: not all is as it was written, see above")


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


if __name__ == "__main__":
    main()
