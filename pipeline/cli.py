"""The command line: `espalier preset | init | schema | summary | sync | ui`."""

import argparse
import filecmp
import json
import os
import sys
from pathlib import Path

from pipeline.errors import EspalierError, ParamsError
from pipeline.files import to_json, write_atomic
from pipeline.params import nearest
from pipeline.schema import check_params, json_schema
from pipeline.summary import summary
from pipeline.tracking.store import sync, ui_command

PARAMS = Path("params.yaml")
SCHEMA = Path("params.schema.json")
PRESETS = Path("presets")


def main() -> None:
    arguments = parser().parse_args()
    try:
        arguments.command(arguments)
    except EspalierError as error:
        sys.exit(f"espalier {arguments.name}: {error}")


def parser() -> argparse.ArgumentParser:
    root = argparse.ArgumentParser(prog="espalier", description="Train on a Ray cluster, prune to shape, register what fits.")
    commands = root.add_subparsers(dest="name", required=True, metavar="COMMAND")

    preset = commands.add_parser("preset", help="replace params.yaml by a preset")
    preset.add_argument("preset", help=f"one of {', '.join(_presets())}")
    preset.add_argument("--force", action="store_true", help="also replace a params.yaml that you edited")
    preset.set_defaults(command=_preset)

    schema = commands.add_parser("schema", help="write params.schema.json, by which editors complete and check params.yaml")
    schema.add_argument("--check", action="store_true", help="write nothing; fail where the file is out of date")
    schema.set_defaults(command=_schema)

    init = commands.add_parser("init", help="bring weights to train from into data/init")
    init.add_argument(
        "source", help="pretrained (of model.name), models:/<name>@<alias>, a model folder or a .safetensors file"
    )
    init.set_defaults(command=_init)

    show = commands.add_parser("summary", help="the table of all variants and the registered versions")
    show.set_defaults(command=lambda _: print(summary(Path())))

    send = commands.add_parser("sync", help="send to MLflow what is missing there, after an outage or a lost database")
    send.set_defaults(command=lambda _: print(sync(Path())))

    ui = commands.add_parser("ui", help="MLflow UI on loopback")
    ui.add_argument("--port", type=int, default=5000)
    ui.set_defaults(command=_ui)
    return root


def _presets() -> list[str]:
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def _preset(arguments: argparse.Namespace) -> None:
    chosen = PRESETS / f"{arguments.preset}.yaml"
    if arguments.preset not in _presets():
        raise ParamsError(f"unknown preset {arguments.preset!r}{nearest(arguments.preset, _presets())}")
    edited = PARAMS.exists() and not any(filecmp.cmp(PARAMS, PRESETS / f"{name}.yaml", shallow=False) for name in _presets())
    if edited and not arguments.force:
        raise ParamsError("params.yaml has edits of yours that the preset would overwrite; keep a copy, then add --force")
    check_params(chosen)
    write_atomic(PARAMS, chosen.read_bytes())
    print(f"params.yaml is now the preset {arguments.preset!r}; `make repro` runs what that changes")


def _init(arguments: argparse.Namespace) -> None:
    from pipeline.pretrained import bring  # which imports torch, for seconds that no other command needs

    print(bring(arguments.source, Path()))


def _schema(arguments: argparse.Namespace) -> None:
    text = to_json(json_schema())
    if not arguments.check:
        write_atomic(SCHEMA, text)
    elif not SCHEMA.exists() or json.loads(SCHEMA.read_text()) != json.loads(text):
        raise ParamsError(f"{SCHEMA} is out of date; run `espalier schema` and commit it")


def _ui(arguments: argparse.Namespace) -> None:
    command = ui_command(Path(), arguments.port)
    print(f"MLflow UI: http://127.0.0.1:{arguments.port}  (Ctrl-C ends it)", flush=True)
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
