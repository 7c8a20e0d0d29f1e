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
├── StorageError       resources.storage that cannot be used, or holds something else
├── SubmitError        a tree or cluster with which nothing can be submitted, a job that failed
└── GateError          a model that may not be registered
"""

import re

USER_OF_A_URL = re.compile(r"(?<=://)[^/\s]+@")


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


class StorageError(EspalierError):
    """What nodes share cannot be read or written, or is not what was stored."""


class SubmitError(EspalierError):
    """A job cannot be submitted, or has failed."""


class GateError(EspalierError):
    """A model fails a gate and is not registered."""


def shown(text: str) -> str:
    """A text for people to read, without the user names and passwords that addresses in it may hold."""
    return USER_OF_A_URL.sub("", text)
