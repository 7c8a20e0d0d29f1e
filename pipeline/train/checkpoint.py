"""A store of checkpoints that decides by itself what to resume from.

A checkpoint is a folder `step-<n>` with state.safetensors, state.json and manifest.json (the SHA-256 of
both). It is written beside its final place and becomes visible by one rename. `newest` returns the last
one whose digests hold, else the one before: truncated, flipped or half-written checkpoints are passed over.
No pickle, and nothing of Ray's own bookkeeping is needed.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from pipeline.files import atomic_dir, sha256_file, to_json

NUM_KEPT = 2


class Store:
    """Checkpoints in `folder`; `save` keeps the newest two."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        with atomic_dir(self.folder / f"step-{step:09d}") as folder:
            safetensors.torch.save_file(tensors, folder / "state.safetensors")
            (folder / "state.json").write_text(to_json(values))
            digests = {name: sha256_file(folder / name) for name in ("state.safetensors", "state.json")}
            (folder / "manifest.json").write_text(to_json(digests))
        for old in self._folders()[NUM_KEPT:]:
            shutil.rmtree(old)

    def newest(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Tensors and values of the newest checkpoint that verifies, or None to start from the beginning."""
        for folder in self._folders():
            if _verifies(folder):
                tensors = safetensors.torch.load_file(folder / "state.safetensors")
                return tensors, json.loads((folder / "state.json").read_text())
        return None

    def _folders(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"), reverse=True)


def _verifies(folder: Path) -> bool:
    try:
        digests = json.loads((folder / "manifest.json").read_text())
        return set(digests) == {"state.safetensors", "state.json"} and all(
            sha256_file(folder / name) == digest for name, digest in digests.items()
        )
    except (OSError, ValueError, AttributeError):
        # A missing or garbled manifest is what a torn write looks like: this checkpoint does not count.
        return False
