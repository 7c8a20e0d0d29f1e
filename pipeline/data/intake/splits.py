"""Splits: which row is train, val or test."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from pipeline.data.intake.ingest import Row
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.settled.settled import Settled
from pipeline.data.intake.source import SPLITS
from pipeline.data.prepared.shards import Indices
from pipeline.errors import DataError


def assign_splits(
    rows: list[Row], targets: Sequence[Settled], own: Sequence[str], params: DataParams
) -> dict[str, Indices]:
    """Row indices of train, val and test, each in source order.

    own: splits that the source brings and keeps; the others are carved out of train, of each of the first
    target's strata the same fraction. Which rows depends on the seed and on their pixels, not on their order.
    Raises DataError for a split that would be empty, or a train split that does not show what there is to
    learn.
    """
    splits = {
        split: np.array([i for i, row in enumerate(rows) if row.split == split], np.int64) for split in own
    }
    wanted = {"val": params.val_fraction, "test": params.test_fraction}
    fractions = {split: fraction for split, fraction in wanted.items() if split not in own}
    _check_fractions(fractions)
    for target in targets:
        target.check(splits["train"], [*fractions])
    carved = _carve(rows, targets[0].strata(), splits["train"], fractions, params.seed)
    splits |= carved
    splits["train"] = np.setdiff1d(splits["train"], np.concatenate([np.empty(0, np.int64), *carved.values()]))
    for target in targets:
        target.check(splits["train"], [])
    empty = [split for split in SPLITS if len(splits[split]) == 0]
    if empty:
        raise DataError(
            f"split {empty[0]!r} has no usable row; mend {empty[0]}.parquet, or remove it to carve one out"
        )
    return {split: splits[split] for split in SPLITS}


def _check_fractions(fractions: dict[str, float]) -> None:
    for split, fraction in fractions.items():
        if fraction == 0:
            raise DataError(
                f"split {split!r} would be empty: the source has none of its own and data.{split}_fraction "
                "is 0; raise it"
            )


def _carve(
    rows: list[Row], strata: Indices, train: Indices, fractions: dict[str, float], seed: int
) -> dict[str, Indices]:
    """Rows of each stratum in the order of a keyed digest of their pixels, cut into pieces.

    Equal images are neighbours in that order, so duplicates mostly stay on one side of a cut. Strata of fewer
    rows than splits are cut together.
    """
    key = seed.to_bytes(8, "little")
    members: dict[int, list[int]] = defaultdict(list)
    for index in train.tolist():
        members[int(strata[index])].append(index)
    members = _merged(members, 1 + len(fractions))
    taken: dict[str, list[int]] = {split: [] for split in fractions}
    for _, indices in sorted(members.items()):
        shuffled = sorted(indices, key=lambda index: hashlib.blake2b(rows[index].digest, key=key).digest())
        for split, size in _sizes(len(indices), fractions).items():
            taken[split] += shuffled[:size]
            shuffled = shuffled[size:]
    return {split: np.sort(np.array(indices, np.int64)) for split, indices in taken.items()}


def _merged(members: dict[int, list[int]], fewest: int) -> dict[int, list[int]]:
    large = {stratum: rows for stratum, rows in members.items() if len(rows) >= fewest}
    rest = sorted(row for stratum, rows in members.items() if stratum not in large for row in rows)
    return large | ({-1: rest} if rest else {})


def _sizes(count: int, fractions: dict[str, float]) -> dict[str, int]:
    """Rows of a stratum for each carved split: rounded half up, at least one, one left for each other."""
    sizes: dict[str, int] = {}
    left = count
    for position, (split, fraction) in enumerate(fractions.items()):
        following = len(fractions) - position
        sizes[split] = max(0, min(max(1, int(count * fraction + 0.5)), left - following))
        left -= sizes[split]
    return sizes


def count_duplicates(rows: list[Row], splits: dict[str, Indices]) -> dict[str, int]:
    """Images whose prepared pixels are also in an earlier split: {"train/val", "train/test", "val/test"}."""
    digests = {
        split: Counter(rows[index].digest for index in indices.tolist()) for split, indices in splits.items()
    }
    pairs = [(SPLITS[first], second) for position, second in enumerate(SPLITS) for first in range(position)]
    return {
        f"{first}/{second}": sum(
            count for digest, count in digests[second].items() if digest in digests[first]
        )
        for first, second in pairs
    }
