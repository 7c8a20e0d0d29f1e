"""Splits: which row is train, val or test."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.data.intake.columns import Bytes, fixed_bytes, take_rows, where
from pipeline.data.intake.settled.settled import Settled
from pipeline.data.intake.source import SPLITS
from pipeline.data.intake.splitting.groups import shared_out
from pipeline.data.intake.splitting.keys import Groups, groups_of
from pipeline.data.intake.splitting.params import AnySplit, Fold, SplitByRows, SplitByTime
from pipeline.data.prepared.shards import Indices
from pipeline.errors import DataError

REST = -1
"""Stratum of the rows whose own has fewer than one for each split."""
Fractions = Mapping[str, float]


def assign_splits(
    rows: pa.Table, targets: Sequence[Settled], own: Sequence[str], rule: AnySplit
) -> dict[str, Indices]:
    """Row indices of train, val and test, each in source order.

    rows: with columns `split`, as the source has it, `digest`, of the pixels, and what the rule needs. own:
    splits that the source brings and keeps; the others are carved out of train, of each of the first target's
    strata the same fraction. Which rows depends on the seed and on their pixels, not on their order. Raises
    DataError for a split that would be empty, a group in two of the source's splits, or a train split that
    does not show what there is to learn.
    """
    splits = {split: where(pc.equal(rows.column("split"), split)) for split in own}
    fractions = _fractions(own, rule)
    for target in targets:
        target.check(splits["train"], [*fractions])
    groups = groups_of(rows, targets[0], rule)
    if groups:
        _check_apart(groups, splits)
    if fractions:
        splits |= _carved(rows, targets[0].strata(), splits["train"], groups, fractions, rule)
    empty = [split for split in SPLITS if len(splits[split]) == 0]
    if empty:
        raise DataError(_empty(empty[0], own, groups, rule))
    for target in targets:
        target.check(splits["train"], [])
    return {split: splits[split] for split in SPLITS}


def _fractions(own: Sequence[str], rule: AnySplit) -> dict[str, float]:
    """Fractions of the splits that the source has not. A fold's is one over the number of parts."""
    wanted = {"val": rule.val_fraction, "test": rule.test_fraction}
    fold = _fold(rule)
    if fold:
        if "test" in own:
            raise DataError(
                "data.split.fold makes a part of the rows test, but the source has a test of its own; set "
                "fold to null, or take that split out of the source"
            )
        wanted["test"] = 1 / fold.of
    fractions = {split: fraction for split, fraction in wanted.items() if split not in own}
    for split, fraction in fractions.items():
        if fraction == 0:
            raise DataError(
                f"split {split!r} would be empty: the source has none of its own and "
                f"data.split.{split}_fraction is 0; raise it"
            )
    return fractions


def _fold(rule: AnySplit) -> Fold | None:
    return None if isinstance(rule, SplitByTime) else rule.fold


def _carved(
    rows: pa.Table,
    strata: Indices,
    train: Indices,
    groups: Groups | None,
    fractions: Fractions,
    rule: AnySplit,
) -> dict[str, Indices]:
    """Train without what is carved out of it, and that."""
    if isinstance(rule, SplitByTime):
        return _latest(take_rows(rows.select(["place"]), train).column("place"), train, fractions)
    fold, taken = rule.fold, {}
    if groups and fold:
        parts = _parts(groups, strata, train, [1 / fold.of] * fold.of, rule.seed)
        taken["test"] = train[parts == fold.index]
        train = train[parts != fold.index]
        fractions = {split: fraction for split, fraction in fractions.items() if split != "test"}
    if groups:
        shares = [1 - sum(fractions.values()), *fractions.values()]
        parts = _parts(groups, strata, train, shares, rule.seed)
        return taken | {split: train[parts == part] for part, split in enumerate(["train", *fractions])}
    assert isinstance(rule, SplitByRows), "the others have groups"
    order = _drawn(fixed_bytes(rows.column("digest")), train, rule.seed)
    return _carve(strata[order], order, fractions, fold)


def _parts(groups: Groups, strata: Indices, rows: Indices, shares: list[float], seed: int) -> Indices:
    """The part of each row."""
    there, numbers = np.unique(groups.numbers[rows], return_inverse=True)
    names = [groups.names[group] for group in there.tolist()]
    kinds = np.unique(strata[rows], return_inverse=True)[1]
    parts: Indices = shared_out(numbers, kinds, names, np.array(shares), seed)[numbers]
    return parts


def _check_apart(groups: Groups, splits: Mapping[str, Indices]) -> None:
    """Raises DataError for a group in two splits of the source."""
    pairs = [
        (first, second) for first in splits for second in splits if SPLITS.index(first) < SPLITS.index(second)
    ]
    for first, second in pairs:
        both = np.intersect1d(groups.numbers[splits[first]], groups.numbers[splits[second]])
        if len(both):
            raise DataError(
                f"group {groups.names[int(both[0])]!r} is in {first} and in {second} of the source, as "
                f"{len(both)} groups are; a split would know what another shows. Move its rows into "
                "one of them"
            )


def _latest(times: pa.ChunkedArray, rows: Indices, fractions: Fractions) -> dict[str, Indices]:
    """Rows from the latest to the earliest cut into test, val and train; equal times stay together."""
    ranks = np.unique(np.array(times.to_pylist()), return_inverse=True)[1]
    order = np.argsort(ranks, kind="stable")[::-1]
    edges, ends = [0], np.append(np.flatnonzero(np.diff(ranks[order])) + 1, len(rows))
    splits = list(fractions)[::-1]
    for split in splits:
        wanted = edges[-1] + max(1, int(len(rows) * fractions[split] + 0.5))
        edges.append(int(ends[np.abs(ends - wanted).argmin()]))
    parts = np.split(order, edges[1:])
    return {split: np.sort(rows[part]) for split, part in zip([*splits, "train"], parts, strict=True)}


def _drawn(digests: Bytes, rows: Indices, seed: int) -> Indices:
    """The rows in the order of a keyed digest of their pixels.

    Equal images are neighbours in that order, so duplicates mostly stay on one side of a cut.
    """
    key = seed.to_bytes(8, "little")
    keyed = b"".join(hashlib.blake2b(digest, key=key).digest() for digest in digests[rows])
    first, second = np.frombuffer(keyed, ">u8").reshape(len(rows), -1)[:, :2].T
    return rows[np.lexsort((second, first))]


def _carve(strata: Indices, rows: Indices, fractions: Fractions, fold: Fold | None) -> dict[str, Indices]:
    """The rows cut into train and the others, those of each stratum in their order.

    strata: of each of the rows. Strata of fewer rows than splits are cut together.
    """
    numbers, places, counts = np.unique(strata, return_inverse=True, return_counts=True)
    strata = np.where(counts >= 1 + len(fractions), numbers, REST)[places]
    taken: dict[str, list[Indices]] = {split: [] for split in (*fractions, "train")}
    order = np.argsort(strata, kind="stable")
    cuts = np.flatnonzero(np.diff(strata[order])) + 1
    for number, members in enumerate(np.split(rows[order], cuts)):
        left, sizes = members, fractions
        if fold:
            test, left = _fold_of(members, fold, number)
            taken["test"].append(test)
            sizes = {split: fraction for split, fraction in fractions.items() if split != "test"}
        for split, size in _sizes(len(left), sizes).items():
            taken[split].append(left[:size])
            left = left[size:]
        taken["train"].append(left)
    return {split: np.sort(np.concatenate(parts)) for split, parts in taken.items()}


def _fold_of(members: Indices, fold: Fold, stratum: int) -> tuple[Indices, Indices]:
    """The fold's part of a stratum, and the rest; another part in each, because the last ones are larger."""
    part = (fold.index + stratum) % fold.of
    first, last = (len(members) * edge // fold.of for edge in (part, part + 1))
    return members[first:last], np.concatenate([members[:first], members[last:]])


def _sizes(count: int, fractions: Fractions) -> dict[str, int]:
    """Rows of a stratum for each carved split: rounded half up, at least one, one left for each other."""
    sizes: dict[str, int] = {}
    left = count
    for position, (split, fraction) in enumerate(fractions.items()):
        following = len(fractions) - position
        sizes[split] = max(0, min(max(1, int(count * fraction + 0.5)), left - following))
        left -= sizes[split]
    return sizes


def _empty(split: str, own: Sequence[str], groups: Groups | None, rule: AnySplit) -> str:
    if isinstance(rule, SplitByTime) and len(own) < len(SPLITS):
        return f"split {split!r} would be empty: its rows have too few different times; split by rows"
    if split in own:
        return f"split {split!r} of the source has no usable row; mend it, or remove it to carve one out"
    if groups:
        return (
            f"split {split!r} would be empty: {len(groups.names)} groups are too few, or too large, to give "
            "each split one; add groups, or split by rows"
        )
    return f"split {split!r} would be empty; add rows, or raise data.split.{split}_fraction"


def count_duplicates(rows: pa.Table, splits: Mapping[str, Indices]) -> dict[str, int]:
    """Images whose prepared pixels are also in an earlier split: {"train/val", "train/test", "val/test"}."""
    digests = {split: rows.column("digest").take(pa.array(indices)) for split, indices in splits.items()}
    pairs = [(SPLITS[first], second) for position, second in enumerate(SPLITS) for first in range(position)]
    return {
        f"{first}/{second}": pc.sum(pc.is_in(digests[second], value_set=digests[first])).as_py() or 0
        for first, second in pairs
    }
