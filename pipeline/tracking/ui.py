"""MLflow's UI over the project's own database: on loopback for its owner alone, anywhere else with accounts.

Only requests to the address that it was started for are answered, else any web page could lead its name to
this machine (DNS rebinding); MLflow's own list of hosts lets in every name that begins with `10.` or
`192.168.`.
"""

import ipaddress
import os
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.files import write_atomic
from pipeline.errors import EspalierError, redacted
from pipeline.tracking.local import artifact_root, local_folder, sqlite_uri, tracking_uri

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
PASSWORD = "MLFLOW_AUTH_ADMIN_PASSWORD"  # noqa: S105 - the name of a variable
ACCOUNTS = "MLFLOW_AUTH_CONFIG_PATH"
SIGNS = "MLFLOW_FLASK_SERVER_SECRET_KEY"
LEAST_PASSWORD_CHARACTERS = 12
"""Length of a password that MLflow takes (mlflow/server/auth)."""
ACCOUNTS_FILE = """\
[mlflow]
default_permission = READ
database_uri = {database}
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


@dataclass(frozen=True)
class UI:
    """A server's command and its whole environment, which unlike a command nobody else can read."""

    url: str
    command: list[str]
    environment: dict[str, str]


def ui(root: Path, port: int, host: str = "127.0.0.1", environment: Mapping[str, str] = os.environ) -> UI:
    """The server of the database that stages write to.

    Raises EspalierError if MLFLOW_TRACKING_URI names a server, which has a UI of its own, if other machines
    would reach this one without a password, and for every address at once (0.0.0.0), by whose name nobody
    asks.
    """
    uri = tracking_uri(root)
    if uri.startswith("http"):
        raise EspalierError(
            f"the UI of this server is at {redacted(uri)}; unset MLFLOW_TRACKING_URI to see the local "
            "database"
        )
    local_folder(root).mkdir(parents=True, exist_ok=True)
    is_loopback = _is_loopback(host)
    names = LOOPBACK if is_loopback else (_in_url(host),)
    options = {
        "--default-artifact-root": artifact_root(root),
        "--host": host,
        "--port": str(port),
        "--workers": "1",
        "--allowed-hosts": ",".join(f"{name}:{port}" for name in names),
        "--cors-allowed-origins": ",".join(f"http://{name}:{port}" for name in names),
    } | ({} if is_loopback else {"--app-name": "basic-auth"})
    settings = {
        "MLFLOW_BACKEND_STORE_URI": uri,  # may hold a password
        # true by default: a foreign model could run code in the server
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    } | ({} if is_loopback else _accounts(root, environment))
    words = [word for option in options.items() for word in option]
    command = [sys.executable, "-m", "mlflow", "server", *words]
    return UI(f"http://{_in_url(host)}:{port}", command, {**environment, **settings})


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    if address.is_unspecified:
        raise EspalierError(
            f"--host {host} means every address of this machine; give the one by which others reach it"
        )
    return address.is_loopback


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _accounts(root: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """What MLflow needs to ask for accounts; the first is `admin`. There is no default password."""
    settings = {SIGNS: environment.get(SIGNS) or secrets.token_hex(32)}
    if environment.get(ACCOUNTS):  # their own way: MLflow itself refuses to start without a password
        return settings
    if len(environment.get(PASSWORD, "")) < LEAST_PASSWORD_CHARACTERS:
        raise EspalierError(
            "other machines reach the UI at this address, so it asks for an account, and there is no default "
            f"password: set {PASSWORD} ({LEAST_PASSWORD_CHARACTERS} characters or more; the account is "
            f"`admin`) or {ACCOUNTS} (a file with admin_password), or leave --host out"
        )
    folder = local_folder(root)
    accounts = folder / "accounts.db"
    accounts.touch(0o600)
    accounts.chmod(0o600)  # also one of before: MLflow keeps hashes of passwords there
    database = sqlite_uri(accounts)  # in a file in which % has a meaning of its own
    write_atomic(folder / "accounts.ini", ACCOUNTS_FILE.format(database=database.replace("%", "%%")))
    return {**settings, ACCOUNTS: str(folder / "accounts.ini")}
