"""`espalier preset | schema`: params.yaml, and what editors know of it."""

import argparse
import filecmp
import json
from pathlib import Path

from pipeline.base.files import to_json, write_atomic
from pipeline.base.params import nearest
from pipeline.commands.arguments import PARAMS, PRESET_NAMES, PRESETS, Commands, completed
from pipeline.errors import ParamsError
from pipeline.schema import check_params, json_schema

SCHEMA = Path("params.schema.json")


def add_preset(commands: Commands) -> None:
    parser = commands.add_parser("preset", help="replace params.yaml by a preset")
    completed(parser.add_argument("preset", help=f"one of {', '.join(_presets())}"), PRESET_NAMES)
    parser.add_argument("--force", action="store_true", help="also replace a params.yaml that you edited")
    parser.set_defaults(command=_preset)


def add_schema(commands: Commands) -> None:
    parser = commands.add_parser(
        "schema", help="write params.schema.json, by which editors complete and check params.yaml"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the file is out of date")
    parser.set_defaults(command=_schema)


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


def _schema(arguments: argparse.Namespace) -> None:
    text = to_json(json_schema())
    if not arguments.check:
        write_atomic(SCHEMA, text)
    elif not SCHEMA.exists() or json.loads(SCHEMA.read_text(encoding="utf-8")) != json.loads(text):
        raise ParamsError(f"{SCHEMA} is out of date; run `espalier schema` and commit it")
