"""What a training cluster leans on, each a real server on a host: PostgreSQL, MLflow with accounts, an S3
store.
"""

import http.client
import os
import pwd
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.hosts import s3_proxy
from tests.support.hosts.hosts import Host
from tests.support.hosts.service import READY_TIMEOUT_S, Service, write_secret

FOLDER = Path("/run/services")
DATA = FOLDER / "postgres"
DATABASE_USERS = ("postgres", "nobody")
"""Whoever of them this machine knows: PostgreSQL refuses to run as root."""
BUCKET = "espalier"
S3_PORT = 9000
STORE_URL = "http://127.0.0.1:9001"
DATABASE_PORT = 5432
MLFLOW_PORT = 5000
RUNS_DATABASE = "runs"
ACCOUNTS_DATABASE = "accounts"
ACCOUNTS = """[mlflow]
default_permission = READ
database_uri = {database}
admin_username = admin
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


class Postgres(Service):
    """PostgreSQL with passwords, at the host's address alone, its data in the host's memory."""

    def __init__(self, host: Host, account: str = "espalier", password: str | None = None) -> None:
        self._tools = postgres_tools()
        self._account = account
        self._password = password or secrets.token_urlsafe(16)
        self._user = database_user()
        settings = {
            "listen_addresses": host.ip,
            "port": str(DATABASE_PORT),
            "unix_socket_directories": "",
            "fsync": "off",  # a host that loses its power loses its disk too
        }
        command = [*self._as_user(), str(self._tools / "postgres"), "-D", str(DATA)]
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        super().__init__(host, [*command, *options], {})

    def start(self) -> None:
        """Raises CommandError where the files of the database cannot be made, which the first start does."""
        if self.process is None:
            self._initialise()
        super().start()

    def url(self, name: str) -> str:
        """Of a database; it holds the password.

        The driver is named because SQLAlchemy 2.1 takes psycopg 3 otherwise.
        """
        return f"postgresql+psycopg2://{self._account}:{self._password}@{self.host.ip}:{DATABASE_PORT}/{name}"

    def make_database(self, name: str) -> None:
        self._client("createdb", name)

    def query(self, database: str, statement: str) -> str:
        """What a statement of SQL gives, without headings. Raises CommandError."""
        return self._client("psql", "--tuples-only", "--no-align", "--command", statement, database).strip()

    def dump(self, database: str) -> str:
        """All that it holds, as SQL."""
        return self._client("pg_dump", database)

    def _client(self, tool: str, *words: str) -> str:
        reach = ["--host", self.host.ip, "--port", str(DATABASE_PORT), "--username", self._account]
        return self.host.run([str(self._tools / tool), *reach, *words], {"PGPASSWORD": self._password}).out

    def _initialise(self) -> None:
        host, password = self.host, FOLDER / "postgres-password"
        host.path(DATA).mkdir(parents=True, exist_ok=True)
        os.chown(host.path(DATA), self._user.pw_uid, self._user.pw_gid)
        write_secret(host.path(password), self._password)
        os.chown(host.path(password), self._user.pw_uid, self._user.pw_gid)
        host.run(
            [
                *(*self._as_user(), str(self._tools / "initdb"), "--pgdata", str(DATA), "--no-sync"),
                *("--username", self._account, "--pwfile", str(password), "--auth", "scram-sha-256"),
                *("--encoding", "UTF8", "--locale", "C"),
            ]
        )
        # initdb lets in this machine alone.
        with host.path(DATA / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet scram-sha-256\n")

    def _as_user(self) -> list[str]:
        return ["setpriv", f"--reuid={self._user.pw_uid}", f"--regid={self._user.pw_gid}", "--clear-groups"]

    def answers(self) -> bool:
        asked = [str(self._tools / "pg_isready"), "--host", self.host.ip, "--port", str(DATABASE_PORT)]
        return self.host.run(asked, check=False).status == 0


class Moto(Service):
    """Objects in memory, gone with the process; by default for this host alone."""

    def __init__(self, host: Host, url: str = STORE_URL) -> None:
        self._url = url
        ip, port = str(urlsplit(url).hostname), str(urlsplit(url).port)
        super().__init__(host, ["moto_server", "-H", ip, "-p", port], {})

    def answers(self) -> bool:
        self.host.get(self._url)
        return True


class S3(Service):
    """An S3 store with one bucket, moto's server, behind a proxy that is this service: the objects outlive
    its end.
    """

    def __init__(self, host: Host) -> None:
        self.url = f"http://{host.ip}:{S3_PORT}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "espalier",
            "AWS_SECRET_ACCESS_KEY": secrets.token_urlsafe(16),
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        self._store = Moto(host)
        self._switch = FOLDER / "s3-answers-503"
        program = FOLDER / "s3_proxy.py"
        host.path(FOLDER).mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(s3_proxy.__file__), host.path(program))
        command = ["python", str(program), host.ip, str(S3_PORT), STORE_URL, str(self._switch)]
        super().__init__(host, command, {})

    def start(self) -> None:
        if self._store.process is None:
            self._store.start()
        super().start()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        self._store.wait_ready(timeout_s)
        super().wait_ready(timeout_s)

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Every request is answered 503 for the time of the block."""
        self.host.path(self._switch).touch()
        try:
            yield
        finally:
            self.host.path(self._switch).unlink()

    def answers(self) -> bool:
        status, _ = self.host.get(f"{self.url}/{BUCKET}", method="PUT")
        return status == http.client.OK


class Mlflow(Service):
    """A tracking server with accounts: runs in PostgreSQL, artifacts in S3, which it serves itself."""

    def __init__(self, host: Host, database: Postgres, store: S3) -> None:
        self.url = f"http://{host.ip}:{MLFLOW_PORT}"
        self.environment = {
            "MLFLOW_TRACKING_URI": self.url,
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": secrets.token_urlsafe(16),
        }
        accounts = FOLDER / "accounts.ini"
        host.path(FOLDER).mkdir(parents=True, exist_ok=True)
        write_secret(host.path(accounts), ACCOUNTS.format(database=database.url(ACCOUNTS_DATABASE)))
        command = [
            *("mlflow", "server", "--app-name", "basic-auth", "--workers", "1"),
            *("--host", host.ip, "--port", str(MLFLOW_PORT), "--allowed-hosts", f"{host.ip}:{MLFLOW_PORT}"),
            *("--artifacts-destination", f"s3://{BUCKET}/mlflow"),
        ]
        environment = {
            **store.environment,
            "MLFLOW_BACKEND_STORE_URI": database.url(
                RUNS_DATABASE
            ),  # not in the command, which anyone may read
            "MLFLOW_AUTH_CONFIG_PATH": str(accounts),
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.environment["MLFLOW_TRACKING_PASSWORD"],
            "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_urlsafe(32),
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        self._database = database
        super().__init__(host, command, environment)

    def start(self) -> None:
        """The first start needs the database up, to make its own there.

        Raises CommandError where that fails.
        """
        if self.process is None:
            for name in (RUNS_DATABASE, ACCOUNTS_DATABASE):
                self._database.make_database(name)
        super().start()

    def answers(self) -> bool:
        status, _ = self.host.get(f"{self.url}/health")
        return status == http.client.OK


def postgres_tools() -> Path:
    """The folder of PostgreSQL's programs, which Debian keeps off the PATH. Raises FileNotFoundError."""
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in found:
        if (folder / "postgres").exists():
            return folder
    raise FileNotFoundError("PostgreSQL's server is not installed")


def database_user() -> pwd.struct_passwd:
    """Raises LookupError where this machine knows none of them."""
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    found = [known[name] for name in DATABASE_USERS if name in known]
    if not found:
        raise LookupError(f"no user to run PostgreSQL as: {' or '.join(DATABASE_USERS)}")
    return found[0]
