"""A store of checkpoints that decides by itself what to resume from.

A checkpoint is a folder `step-<n>` with state.safetensors, state.json and manifest.json (the SHA-256 of
both). It is written beside its final place and becomes visible by one rename. `newest` returns the last
one whose digests hold, else the one before: truncated, flipped or half-written checkpoints are passed over.
No pickle, and nothing of Ray's own bookkeeping is needed.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from pipeline.base.files import atomic_dir, disk_fault, sha256_file, to_json
from pipeline.errors import DiskError, EspalierError, LockedError, StorageError

NUM_KEPT = 2
TENSORS_NAME = "state.safetensors"
VALUES_NAME = "state.json"
MANIFEST_NAME = "manifest.json"
CHECKPOINT_FILES = (TENSORS_NAME, VALUES_NAME, MANIFEST_NAME)
"""Files of a checkpoint in the order in which they are written."""
CheckpointState = tuple[dict[str, Tensor], dict[str, Any]]


class LocalStore:
    """Checkpoints in `folder`; `save` keeps the newest two."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Raises DiskError if the disk is full or not writable, StorageError if the failure may pass."""
        with explained(self.folder):
            with atomic_dir(self.folder / f"step-{step:09d}") as folder:
                write_checkpoint(folder, tensors, values)
            for old in self._folders()[NUM_KEPT:]:
                shutil.rmtree(old)

    def newest(self) -> CheckpointState | None:
        """Tensors and values of the newest checkpoint that verifies, or None to start from the beginning."""
        for folder in self._folders():
            if found := read_checkpoint(folder):
                return found
        return None

    def _folders(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"), reverse=True)


@contextmanager
def explained(place: Path | str) -> Iterator[None]:
    """DiskError or StorageError for all that keeps a checkpoint out of `place`, also safetensors' own."""
    try:
        yield
    except (StorageError, LockedError):
        raise
    except (OSError, SafetensorError, EspalierError) as error:
        stays = isinstance(error, DiskError | SafetensorError) or (
            isinstance(error, OSError) and disk_fault(error)
        )
        raise (DiskError if stays else StorageError)(
            f"{place}: a checkpoint cannot be written ({error.__cause__ or error}); those before it are "
            "kept. Make room on that disk, or let it be written, and run the stage again"
        ) from error


def write_checkpoint(folder: Path, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
    """Put a checkpoint's three files into `folder`."""
    safetensors.torch.save_file(tensors, folder / TENSORS_NAME)
    (folder / VALUES_NAME).write_text(to_json(values), encoding="utf-8")
    digests = {name: sha256_file(folder / name) for name in (TENSORS_NAME, VALUES_NAME)}
    (folder / MANIFEST_NAME).write_text(to_json(digests), encoding="utf-8")


def read_checkpoint(folder: Path) -> CheckpointState | None:
    """Tensors and values of the checkpoint in `folder`, or None if its digests do not hold."""
    if not _verifies(folder):
        return None
    return safetensors.torch.load_file(folder / TENSORS_NAME), json.loads(
        (folder / VALUES_NAME).read_text(encoding="utf-8")
    )


def _verifies(folder: Path) -> bool:
    try:
        digests = json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8"))
        return set(digests) == {TENSORS_NAME, VALUES_NAME} and all(
            sha256_file(folder / name) == digest for name, digest in digests.items()
        )
    except (OSError, ValueError, AttributeError):
        # A missing or garbled manifest is what a torn write looks like: this checkpoint does not count.
        return False
