"""Every error that a user can cause. Its message says where, what is wrong, and what to do.

EspalierError
├── ParamsError        a key or value of params.yaml
├── UndeclaredError    a stage touches what dvc.yaml does not declare for it
├── DataError          a source, a row, a split
├── ArtifactError      a model on disk that is missing, corrupt or of another kind
├── TrainingError      a run that cannot start or go on (NaN loss, too few workers, fp16 on a CPU)
├── CompressionError   a target out of reach, a network that cannot be traced or exported
├── LockedError        another process writes here
├── UnreachableError   an address that does not answer
├── DiskError          a disk here that is full or may not be written
├── StorageError       a storage that cannot be used or holds something else; checkpoints not written
├── SubmitError        a tree or cluster with which nothing can be submitted, a job that failed
└── GateError          a model that may not be registered
"""

import os
import re
from collections.abc import Iterator, Sequence

EXIT_NODE_INCOMPLETE = 78
"""Exit status of a job whose node lacks something (EX_CONFIG of sysexits.h); another attempt would too."""
USER_OF_A_URL = re.compile(r"(?<=://)[^/\s]+@")
"""Matches user info in a URL, to redact it; may over-match. LOGIN, by which we refuse, is strict."""
LOGIN = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<user>[^\s/@'\"]+)@", re.IGNORECASE)
LOGIN_SCHEMES = {"ssh", "sftp", "hdfs", "webhdfs", "webdav", "webdavs"}
"""Schemes in which a user name alone is how one logs in, and no secret."""
SIGNED = re.compile(
    r"(?P<name>[?&][\w-]*(signature|sig|token|credential|password|secret|key)=)[^&\s'\"]+", re.IGNORECASE
)
"""What lets the holder of a presigned address in (S3, GCS, Azure)."""
SECRET_VARIABLE = re.compile(r"(SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|KEY)S?$", re.IGNORECASE)
"""Names of variables that hold a secret themselves; RAY_AUTH_TOKEN_PATH and AWS_ACCESS_KEY_ID do not."""
LEAST_SECRET_CHARACTERS = 8
"""Length of such a variable's value: a shorter one is found in words that give nothing away."""


class EspalierError(Exception):
    """Base of the errors above: shown to the user as one message, without a traceback."""


class ParamsError(EspalierError):
    """A key or value of params.yaml is wrong."""


class UndeclaredError(EspalierError):
    """A stage reads a section, reads a path or writes a path that dvc.yaml does not declare."""


class DataError(EspalierError):
    """A source, a row or a split is unusable."""


class ArtifactError(EspalierError):
    """A model on disk is missing, corrupt or of a kind that this version does not know."""


class TrainingError(EspalierError):
    """Training cannot start or go on."""


class CompressionError(EspalierError):
    """A model cannot be pruned, exported or quantized as asked."""


class LockedError(EspalierError):
    """Another process holds the lock of a run directory."""


class UnreachableError(EspalierError):
    """A server or cluster does not answer at its address."""


class DiskError(EspalierError):
    """A disk here is full or may not be written, which another attempt would find again."""


class StorageError(EspalierError):
    """What nodes share, or a checkpoint, cannot be read or written, or is not what was stored.

    Workers try again.
    """


class SubmitError(EspalierError):
    """A job cannot be submitted, or has failed."""


class GateError(EspalierError):
    """A model fails a gate and is not registered."""


def redacted(text: str) -> str:
    """The text without secrets: logins and signatures in addresses, and values of secret variables."""
    text = SIGNED.sub(r"\g<name>***", USER_OF_A_URL.sub("", text))
    for _, value in _secret_variables():
        text = text.replace(value, "***")
    return text


def secret_in(text: str) -> str | None:
    """What in a text must not be committed or sent along, without repeating it; None if there is nothing."""
    if any(
        ":" in login["user"] or login["scheme"].lower() not in LOGIN_SCHEMES for login in LOGIN.finditer(text)
    ):
        return "a user name or password in an address"
    if SIGNED.search(text):
        return "a signature or token in an address"
    return next((f"the value of {name}" for name, value in _secret_variables() if value in text), None)


def _secret_variables() -> Iterator[tuple[str, str]]:
    return (
        (name, value)
        for name, value in os.environ.items()
        if SECRET_VARIABLE.search(name) and len(value) >= LEAST_SECRET_CHARACTERS
    )


def listed(names: Sequence[str], most: int, between: str = ", ") -> str:
    """The first `most` of some names, and how many more there are."""
    left = len(names) - most
    return between.join(names[:most]) + (f" and {left} more" if left > 0 else "")
