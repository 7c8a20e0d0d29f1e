"""Splits: which row is train, val or test."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.intake.columns import Bytes, fixed_bytes, where
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.settled.settled import Settled
from pipeline.data.intake.source import SPLITS
from pipeline.data.prepared.shards import Indices
from pipeline.errors import DataError

REST = -1
"""Stratum of the rows whose own has fewer than one for each split."""


def assign_splits(
    rows: pa.Table, targets: Sequence[Settled], own: Sequence[str], params: DataParams
) -> dict[str, Indices]:
    """Row indices of train, val and test, each in source order.

    rows: with columns `split`, as the source has it, and `digest`, of the pixels. own: splits that the source
    brings and keeps; the others are carved out of train, of each of the first target's strata the same
    fraction. Which rows depends on the seed and on their pixels, not on their order. Raises DataError for a
    split that would be empty, or a train split that does not show what there is to learn.
    """
    splits = {split: where(pc.equal(rows.column("split"), split)) for split in own}
    wanted = {"val": params.val_fraction, "test": params.test_fraction}
    fractions = {split: fraction for split, fraction in wanted.items() if split not in own}
    _check_fractions(fractions)
    for target in targets:
        target.check(splits["train"], [*fractions])
    if fractions:
        order = _drawn(fixed_bytes(rows.column("digest")), splits["train"], params.seed)
        splits |= _carve(targets[0].strata()[order], order, fractions)
    for target in targets:
        target.check(splits["train"], [])
    empty = [split for split in SPLITS if len(splits[split]) == 0]
    if empty:
        raise DataError(
            f"split {empty[0]!r} has no usable row; mend {empty[0]}.parquet, or remove it to carve one out"
        )
    return {split: splits[split] for split in SPLITS}


def _check_fractions(fractions: Mapping[str, float]) -> None:
    for split, fraction in fractions.items():
        if fraction == 0:
            raise DataError(
                f"split {split!r} would be empty: the source has none of its own and data.{split}_fraction "
                "is 0; raise it"
            )


def _drawn(digests: Bytes, rows: Indices, seed: int) -> Indices:
    """The rows in the order of a keyed digest of their pixels.

    Equal images are neighbours in that order, so duplicates mostly stay on one side of a cut.
    """
    key = seed.to_bytes(8, "little")
    keyed = b"".join(hashlib.blake2b(digest, key=key).digest() for digest in digests[rows])
    first, second = np.frombuffer(keyed, ">u8").reshape(len(rows), -1)[:, :2].T
    return rows[np.lexsort((second, first))]


def _carve(strata: Indices, rows: Indices, fractions: Mapping[str, float]) -> dict[str, Indices]:
    """The rows cut into train and the others, those of each stratum in their order.

    strata: of each of the rows. Strata of fewer rows than splits are cut together.
    """
    numbers, places, counts = np.unique(strata, return_inverse=True, return_counts=True)
    strata = np.where(counts >= 1 + len(fractions), numbers, REST)[places]
    taken: dict[str, list[Indices]] = {split: [] for split in (*fractions, "train")}
    order = np.argsort(strata, kind="stable")
    for members in np.split(rows[order], np.flatnonzero(np.diff(strata[order])) + 1):
        left = members
        for split, size in _sizes(len(members), fractions).items():
            taken[split].append(left[:size])
            left = left[size:]
        taken["train"].append(left)
    return {split: np.sort(np.concatenate(parts)) for split, parts in taken.items()}


def _sizes(count: int, fractions: Mapping[str, float]) -> dict[str, int]:
    """Rows of a stratum for each carved split: rounded half up, at least one, one left for each other."""
    sizes: dict[str, int] = {}
    left = count
    for position, (split, fraction) in enumerate(fractions.items()):
        following = len(fractions) - position
        sizes[split] = max(0, min(max(1, int(count * fraction + 0.5)), left - following))
        left -= sizes[split]
    return sizes


def count_duplicates(rows: pa.Table, splits: Mapping[str, Indices]) -> dict[str, int]:
    """Images whose prepared pixels are also in an earlier split: {"train/val", "train/test", "val/test"}."""
    digests = {split: rows.column("digest").take(pa.array(indices)) for split, indices in splits.items()}
    pairs = [(SPLITS[first], second) for position, second in enumerate(SPLITS) for first in range(position)]
    return {
        f"{first}/{second}": pc.sum(pc.is_in(digests[second], value_set=digests[first])).as_py() or 0
        for first, second in pairs
    }
