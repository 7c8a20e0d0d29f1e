"""Files that every node reaches without a shared disk: a folder that all mount, or a bucket (s3://...).

Objects are whole or absent: a bucket shows a file when all of it is there, and in a folder it appears by a
rename. Credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...), never from
params.yaml.
"""

import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pipeline.base.files import atomic_dir, locked, sha256_file, sha256_json, to_json, write_atomic
from pipeline.errors import EspalierError, StorageError, redacted

TREE_NAME = "tree.json"
"""Names and SHA-256 of a folder's files; written last, so that a folder without it is not complete."""
TREE = TypeAdapter(dict[str, str])
DIGEST_DIGITS = 32
DIGEST = re.compile(f"[0-9a-f]{{{DIGEST_DIGITS}}}")
REQUEST_ATTEMPTS = 10
"""Attempts of one request, with growing waits of at most 20 s: two minutes of a bucket's 503."""
FIRST_ATTEMPTS = 3
"""Attempts of a run's first request, after which an endpoint counts as dead: 5 s instead of 75 s."""
CONNECT_S = 5
"""Time to connect, after which an attempt is given up; ten of botocore's 60 s would be ten minutes."""
READ_S = 30
"""Time to answer, after which an attempt is given up; botocore's is 60 s too."""
UNANSWERED = {"EndpointConnectionError", "ConnectTimeoutError"}
"""botocore's errors if no connection was made; a store that answers with an error is asked longer."""
PROBE_BYTES = 1 << 20
"""Tried before a run: a full disk still takes an empty file or a short one; a bucket has this in a second."""
OTHERS_WAIT_S = 3600.0
"""How long a worker waits for the one on its node that fetches what both need."""


class Storage:
    """Files below one folder or bucket prefix, by names with slashes. Every verb raises StorageError."""

    def __init__(self, url: str, attempts: int = REQUEST_ATTEMPTS) -> None:
        self.url = url.rstrip("/")
        self._attempts = attempts

    def check(self, first_attempts: int = FIRST_ATTEMPTS) -> None:
        """Raises StorageError if the place is missing or full, or files cannot be written, read and removed.

        If nothing answers at all, within seconds: after first_attempts of the first request.
        """
        if self._is_folder and not Path(self.url).is_dir():
            raise StorageError(
                f"resources.storage: {self.url} is no folder on this machine; mount it here and on every "
                "node, or correct it"
            )
        name = f"probe-{secrets.token_hex(4)}"
        try:
            Storage(self.url, first_attempts).read(name)
        except StorageError as error:
            if type(error.__cause__).__name__ in UNANSWERED:
                raise
        content = secrets.token_bytes(PROBE_BYTES)
        self.write(name, content)
        if self.read(name) != content:
            raise StorageError(
                f"resources.storage: {redacted(self.url)} does not show what was written to it a moment ago"
            )
        self.remove(name)

    def below(self, name: str) -> "Storage":
        return Storage(f"{self.url}/{name}")

    def write(self, name: str, content: bytes) -> None:
        with self._explained("write", name):
            if self._is_folder:
                write_atomic(Path(self._path(name)), content)
            else:
                self._files.pipe_file(self._path(name), content)

    def put(self, file: Path, name: str) -> None:
        with self._explained("write", name):
            if self._is_folder:
                _copy_atomic(file, Path(self._path(name)))
            else:
                self._files.put_file(str(file), self._path(name))

    def read(self, name: str) -> bytes | None:
        """The content, or None if there is no such file."""
        with self._explained("read", name):
            try:
                content: bytes = self._files.cat_file(self._path(name))
            except FileNotFoundError:
                return None
            return content

    def get(self, name: str, file: Path) -> None:
        with self._explained("read", name):
            self._files.get_file(self._path(name), str(file))

    def names(self, prefix: str = "") -> list[str]:
        """Sorted names of all files below `prefix`, relative to it."""
        with self._explained("list", prefix):
            root = self._path(prefix)
            self._files.invalidate_cache()
            found: list[str] = self._files.find(root)
            # find() of a folder that is not there is empty for a bucket and for a disk.
            return sorted(os.path.relpath(name, self._files._strip_protocol(root)) for name in found)

    def remove(self, prefix: str) -> None:
        """All files below `prefix`, or the file of that name; nothing if there is none."""
        with self._explained("remove", prefix):
            self._files.invalidate_cache()
            if self._files.exists(self._path(prefix)):
                self._files.rm(self._path(prefix), recursive=True)

    def add_tree(self, path: Path) -> str:
        """Copy a folder, or a single file, to a place named by its content, unless it is there.

        Returns its digest.
        """
        tree = _tree(path)
        digest = sha256_json(tree)[:DIGEST_DIGITS]
        place = self.below(digest)
        if place.read(TREE_NAME) is None:
            for name in tree:
                place.put(path / name if path.is_dir() else path, name)
            place.write(TREE_NAME, to_json(tree).encode())
        return digest

    def fetch_tree(self, digest: str, cache: Path) -> Path:
        """The folder that add_tree named `digest`, as a verified copy in `cache`, shared by a node's workers.

        A copy that has lost or changed a byte since is fetched again. Raises StorageError if the stored one
        has, and for what is no digest: it may come from the storage itself, and names a folder here.
        """
        if not DIGEST.fullmatch(digest):
            raise StorageError(
                f"{redacted(self.url)} has {digest[:80]!r} for a digest; it was tampered with, do not use it"
            )
        folder = cache / digest
        with locked(cache / f"{digest}.lock", wait_s=OTHERS_WAIT_S, what="this copy of the run's inputs"):
            if not _holds(folder, digest):
                self._fetch(digest, folder)
        return folder

    def _fetch(self, digest: str, folder: Path) -> None:
        place = self.below(digest)
        written = place.read(TREE_NAME)
        if written is None:
            raise StorageError(
                f"{redacted(place.url)} is gone or incomplete; run the stage again, which sends it anew"
            )
        damaged = StorageError(
            f"{redacted(place.url)} is not what was sent; remove it and run the stage again, which sends it "
            "anew"
        )
        tree = _parsed(written)
        if tree is None or sha256_json(tree)[:DIGEST_DIGITS] != digest:
            raise damaged
        with atomic_dir(folder) as partial:
            for name in tree:
                (target := partial / _inside(name)).parent.mkdir(parents=True, exist_ok=True)
                place.get(name, target)
            if _tree(partial) != tree:
                raise damaged

    @cached_property
    def _files(self) -> Any:
        """fsspec's view of the place."""
        import fsspec  # with s3fs a second of imports, which no run on a single disk pays

        if self._is_folder:
            return fsspec.filesystem("file")  # no address, in which `::` would name another
        options = {
            "config_kwargs": {
                "retries": {"mode": "standard", "max_attempts": self._attempts},
                "connect_timeout": CONNECT_S,
                "read_timeout": READ_S,
            },
            "use_listings_cache": False,
        }
        try:
            return fsspec.url_to_fs(self.url, **options)[0]
        except (ImportError, ValueError) as error:
            raise StorageError(
                f"resources.storage: {redacted(self.url)} is no storage known here ({_one_line(error)}); "
                "use a folder or s3://bucket/prefix"
            ) from error

    @property
    def _is_folder(self) -> bool:
        return "://" not in self.url

    def _path(self, name: str) -> str:
        return f"{self.url}/{_inside(name)}" if name else self.url

    @contextmanager
    def _explained(self, verb: str, name: str) -> Iterator[None]:
        try:
            yield
        except StorageError:
            raise
        except Exception as error:  # botocore's errors have no common base with OSError
            ours = isinstance(error, (OSError, EspalierError))
            if not ours and not type(error).__module__.startswith(("botocore", "aiobotocore", "aiohttp")):
                raise
            raise StorageError(
                f"cannot {verb} {redacted(self.url)}/{name}: {_one_line(error)}; check resources.storage, "
                "the AWS_* variables on every node, and that the storage has room and may be written"
            ) from error


def node_cache() -> Path:
    """Where a node keeps copies of the inputs of training runs, each named by its content."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").expanduser() / "espalier"


def _tree(path: Path) -> dict[str, str]:
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    root = path if path.is_dir() else path.parent
    return {file.relative_to(root).as_posix(): sha256_file(file) for file in files}


def _parsed(written: bytes) -> dict[str, str] | None:
    """What add_tree wrote, or None if it is anything else."""
    try:
        return TREE.validate_json(written)
    except ValidationError:
        return None


def _holds(folder: Path, digest: str) -> bool:
    return folder.is_dir() and sha256_json(_tree(folder))[:DIGEST_DIGITS] == digest


def _inside(name: str) -> str:
    """The name itself. Raises StorageError for one that would lead out of its folder."""
    parts = PurePosixPath(name).parts
    if not parts or parts[0] == "/" or ".." in parts:
        raise StorageError(f"{name!r} leads out of its folder; this storage was tampered with, do not use it")
    return name


def _copy_atomic(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        shutil.copyfile(file, partial)
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _one_line(error: Exception) -> str:
    return redacted(" ".join(str(error).split())) or type(error).__name__
