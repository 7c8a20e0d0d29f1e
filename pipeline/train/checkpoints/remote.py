"""Checkpoints in a storage, for a run whose workers share no disk: the same files and rules as in local.py.

There is no rename in a bucket, so the manifest is written last and makes a checkpoint visible. Each has a
name of its own, even of the same step: what an old rank 0 still writes after a new one has taken over never
meets the new one's files, and becomes visible only if that happens in the same moment (fence.py). The journal
goes along, because the next rank 0 may be on another node.
"""

import secrets
from pathlib import Path
from typing import Any

from torch import Tensor

from pipeline.base.files import write_atomic
from pipeline.errors import redacted
from pipeline.process.leftovers import scratch
from pipeline.storage import Storage, node_cache
from pipeline.train import ranks
from pipeline.train.checkpoints.fence import Fence
from pipeline.train.checkpoints.local import (
    CHECKPOINT_FILES,
    MANIFEST_NAME,
    NUM_KEPT,
    CheckpointState,
    explained,
    read_checkpoint,
    write_checkpoint,
)

JOURNAL_KEY = "journal"


class RemoteStore:
    """journal: this node's, kept with every checkpoint and brought back with it. fence: of the run."""

    def __init__(self, storage: Storage, journal: Path, fence: Fence) -> None:
        self.folder = redacted(storage.url)
        self._storage = storage
        self._journal = journal
        self._fence = fence

    def save(self, step: int, tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        """Raises StorageError if the storage refuses for minutes, or this node's disk takes no copy.

        Raises LockedError if another rank 0 writes now.
        """
        journal = self._journal.read_text(encoding="utf-8") if self._journal.exists() else ""
        with explained(str(node_cache())), scratch(node_cache(), "checkpoint") as folder:
            write_checkpoint(folder, tensors, values | {JOURNAL_KEY: journal})
            place = f"step-{step:09d}-{secrets.token_hex(4)}"
            for file in CHECKPOINT_FILES:
                if file == MANIFEST_NAME:
                    self._fence.check()
                self._storage.put(folder / file, f"{place}/{file}")
        self._keep(NUM_KEPT)

    def newest(self) -> CheckpointState | None:
        """Newest checkpoint, as LocalStore.newest; on rank 0 the journal is then as at that checkpoint.

        Raises StorageError.
        """
        for place in self._complete():
            with scratch(node_cache(), "checkpoint") as folder:
                for file in CHECKPOINT_FILES:
                    self._storage.get(f"{place}/{file}", folder / file)
                if found := read_checkpoint(folder):
                    journal = found[1].pop(JOURNAL_KEY)
                    if ranks.rank() == 0:
                        write_atomic(self._journal, journal)
                    return found
        return None

    def _complete(self) -> list[str]:
        """Newest first."""
        names = set(self._storage.names())
        places = {name.partition("/")[0] for name in names}
        return sorted(
            (place for place in places if all(f"{place}/{file}" in names for file in CHECKPOINT_FILES)),
            reverse=True,
        )

    def _keep(self, count: int) -> None:
        """Remove all but the newest, and what never became whole before them."""
        kept = self._complete()[:count]
        for place in sorted({name.partition("/")[0] for name in self._storage.names()}):
            if place < kept[-1]:
                self._storage.remove(place)
