"""`espalier init | preset | schema`: params.yaml, and what editors know of it."""

import argparse
import json
from pathlib import Path

import shtab

from pipeline.base.files import to_json, write_atomic
from pipeline.base.params import nearest
from pipeline.commands.arguments import PARAMS, PRESET_NAMES, PRESETS, Commands, completed
from pipeline.errors import ParamsError
from pipeline.init.text import is_as_written
from pipeline.schema import check_params, json_schema

SCHEMA = Path("params.schema.json")


def add_init(commands: Commands) -> None:
    parser = commands.add_parser("init", help="look at your images, and write the params.yaml that fits them")
    completed(
        parser.add_argument(
            "path",
            metavar="PATH",
            help="a folder for each class, a table that names images, Parquet that holds them, or a zip or "
            "tar of that; best below data/raw",
        ),
        shtab.FILE,
    )
    completed(
        parser.add_argument(
            "--weights",
            metavar="SOURCE",
            help="start from these: pretrained, or a .safetensors file; without it, those in data/init, if "
            "they fit",
        ),
        shtab.FILE,
    )
    parser.add_argument("--force", action="store_true", help="also replace a params.yaml that you edited")
    parser.set_defaults(command=_init)


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


def _init(arguments: argparse.Namespace) -> None:
    # Here, because it imports pyarrow and Pillow, which no other command needs.
    from pipeline.init.init import write_fitting_params

    _refuse_edited(arguments.force)
    print(write_fitting_params(arguments.path, Path(), PRESETS, arguments.weights))


def _preset(arguments: argparse.Namespace) -> None:
    chosen = PRESETS / f"{arguments.preset}.yaml"
    if arguments.preset not in _presets():
        raise ParamsError(f"unknown preset {arguments.preset!r}{nearest(arguments.preset, _presets())}")
    _refuse_edited(arguments.force)
    check_params(chosen)
    write_atomic(PARAMS, chosen.read_bytes())
    print(f"params.yaml is now the preset {arguments.preset!r}; `make repro` runs what that changes")


def _refuse_edited(force: bool) -> None:
    """Raises ParamsError if params.yaml is neither a preset nor as `espalier init` wrote it."""
    if force or not PARAMS.exists():
        return
    content = PARAMS.read_bytes()
    is_preset = any(content == (PRESETS / f"{name}.yaml").read_bytes() for name in _presets())
    if not is_preset and not is_as_written(content.decode(errors="replace")):
        raise ParamsError(
            "params.yaml has edits of yours that this would overwrite; keep a copy, then add --force"
        )


def _schema(arguments: argparse.Namespace) -> None:
    text = to_json(json_schema())
    if not arguments.check:
        write_atomic(SCHEMA, text)
    elif not SCHEMA.exists() or json.loads(SCHEMA.read_text(encoding="utf-8")) != json.loads(text):
        raise ParamsError(f"{SCHEMA} is out of date; run `espalier schema` and commit it")
