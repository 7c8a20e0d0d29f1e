"""Where runs go: the address of MLflow, else the project's own database, also after a move."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, unquote

from pipeline.base.stage import STATE_FOLDER
from pipeline.errors import EspalierError, redacted

EXPERIMENT = "espalier"
DATABASE = Path(STATE_FOLDER, "mlflow", "mlflow.db")
SQLITE = "sqlite:///"
PLACES = {
    "experiments": ["artifact_location"],
    "runs": ["artifact_uri"],
    "logged_models": ["artifact_location"],
    "model_versions": ["source", "storage_location"],
}
"""Tables and columns in which MLflow 3 keeps the place of artifacts, as absolute paths
(mlflow/store/*/dbmodels/models.py)."""
MOVED = "UPDATE {table} SET {column} = :new || substr({column}, :length + 1) WHERE {column} = :old OR {below}"
BELOW = "substr({column}, 1, :length + 1) = :old || '/'"
BUSY_S = 20.0


def tracking_uri(root: Path, seen_from: Path = Path()) -> str:
    """MLFLOW_TRACKING_URI, else a SQLite file below the project's folder, seen from `seen_from`."""
    return os.environ.get("MLFLOW_TRACKING_URI") or local_uri(root, seen_from)


def local_uri(root: Path, seen_from: Path = Path()) -> str:
    """seen_from: the folder of the process that is told this address."""
    return sqlite_uri(root.absolute() / DATABASE, seen_from)


def sqlite_uri(file: Path, seen_from: Path = Path()) -> str:
    """The address of a database at an absolute path.

    SQLAlchemy takes a `?` for the file's end and decodes %20, while MLflow makes the folders of the path as
    it is written. So a path with such characters is given as seen from a folder below them; from elsewhere
    they are quoted.
    """
    special = {"?", "%"}
    seen = os.path.relpath(file, seen_from.absolute()) if special & set(str(file)) else str(file)
    return SQLITE + (quote(str(file), safe="/ #") if special & set(seen) else seen)


def printed_uri(root: Path) -> str | None:
    """The address as anyone may read it: a server's without login, a database's from the project's folder.

    None for another database, whose place is known to whoever set MLFLOW_TRACKING_URI.
    """
    uri = tracking_uri(root)
    if is_a_projects(database_file(uri)):
        return f"{SQLITE}{DATABASE}"
    return redacted(uri) if uri.startswith("http") else None


def local_folder(root: Path) -> Path:
    """The folder of the local database and its artifacts, below the project's."""
    return (root.absolute() / DATABASE).parent


def artifact_root(root: Path) -> str:
    return artifacts_beside(root.absolute() / DATABASE)


def artifacts_beside(database: Path) -> str:
    return (database.parent / "artifacts").as_uri()


def database_file(uri: str) -> Path | None:
    """The file of a SQLite address, None for any other."""
    if not uri.startswith(SQLITE):
        return None
    # Links stay as they are.
    return Path(os.path.normpath(Path(unquote(uri.removeprefix(SQLITE).partition("?")[0])).absolute()))


def is_a_projects(database: Path | None) -> bool:
    """Whether this is a project's own database: this one's, or the one that a point of a sweep shares."""
    return database is not None and database.match(str(DATABASE))


def lock_of(root: Path, uri: str) -> Path:
    """A file whose holder may make what MLflow lacks: a database file's, else the project's."""
    database = database_file(uri)
    if database is None or is_a_projects(database):
        return (database.parent if database else local_folder(root)).with_suffix(".lock")
    return Path(f"{database}.lock")


def make_database(database: Path) -> None:
    """Make a database beside its place and move it there: a kill while MLflow makes its tables spoils it."""
    from mlflow import MlflowClient

    partial = database.with_name(f"{database.stem}.partial.db")
    if not database.exists():
        partial.unlink(missing_ok=True)
        MlflowClient(sqlite_uri(partial))
        partial.rename(database)


def follow_project(database: Path) -> None:
    """Let a project's database say where its artifacts are now, if it was made elsewhere, in one transaction.

    Raises EspalierError for a file that is no database of MLflow's.
    """
    new = artifacts_beside(database)
    try:
        with closing(sqlite3.connect(database, timeout=BUSY_S)) as connection, connection:
            row = connection.execute(
                "SELECT artifact_location FROM experiments WHERE name = ?", [EXPERIMENT]
            ).fetchone()
            old = row[0] if row else new
            if old == new or not old.startswith("file:"):
                return
            for table, columns in PLACES.items():
                for column in columns:
                    statement = MOVED.format(table=table, column=column, below=BELOW.format(column=column))
                    connection.execute(statement, {"new": new, "old": old, "length": len(old)})
    except sqlite3.Error as error:
        cure = "move it away, then run `espalier sync` and `dvc repro -f -s register`"
        raise EspalierError(f"{database}: cannot be read as MLflow's database ({error}); {cure}") from error
