"""The project's own files: params.yaml, dvc.yaml, and secrets in what is committed."""

import re
from collections.abc import Iterator
from pathlib import Path

from pipeline.base.yaml_file import read_yaml
from pipeline.doctor.finding import CheckResult, check_result, ok, problem
from pipeline.errors import secret_in
from pipeline.schema import SECTIONS, check_params

COMMITTED = ("params.yaml", ".dvc/config")
SECRET_KEYS = (
    "account_key",
    "client_secret",
    "connection_string",
    "custom_auth_header",
    "gdrive_client_secret",
    "oss_key_secret",
    "passphrase",
    "password",
    "sas_token",
    "secret_access_key",
    "session_token",
    "sse_customer_key",
    "token",
)
"""Keys of DVC's configuration that hold secrets (dvc/config_schema.py)."""
SECRET_SETTING = re.compile(rf"^\W*(?P<key>{'|'.join(SECRET_KEYS)})\s*=\s*\S")


def params(root: Path) -> CheckResult:
    """Raises ParamsError."""
    check_params(root / "params.yaml")
    return ok(f"{len(SECTIONS)} sections are valid")


def stages(root: Path) -> CheckResult:
    """Raises ParamsError."""
    declared = read_yaml(root / "dvc.yaml").get("stages")
    if not isinstance(declared, dict) or not declared:
        return problem("dvc.yaml declares no stages; `git checkout dvc.yaml` brings the project's own back")
    broken = [name for name, stage in declared.items() if not _has_command(stage)]
    return check_result(
        [f"dvc.yaml: stage {name!r} has no cmd; add it" for name in broken], f"{len(declared)} stages"
    )


def secrets(root: Path) -> CheckResult:
    """Names places, never values."""
    problems = [
        problem for name in COMMITTED if (root / name).exists() for problem in _secrets(root / name, name)
    ]
    return check_result(problems, f"none in {' or '.join(COMMITTED)}")


def _has_command(stage: object) -> bool:
    if isinstance(stage, dict) and isinstance(stage.get("do"), dict):
        stage = stage["do"]
    return isinstance(stage, dict) and bool(stage.get("cmd"))


def _secrets(path: Path, name: str) -> Iterator[str]:
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        setting = SECRET_SETTING.match(line)
        if setting and path.name == "config":
            yield (
                f"{name}, line {number}, holds a {setting['key']}, and the file is committed; move it with "
                "`dvc remote modify --local` or to AWS_* variables, and replace the secret, which git's "
                "history keeps"
            )
        elif secret := secret_in(line):
            yield (
                f"{name}, line {number}, has {secret}, and the file is committed; take it out, give it in "
                "variables, and replace the secret, which git's history keeps"
            )
