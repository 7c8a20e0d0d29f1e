"""Classes and splits: which label is which number, which row is train, val or test."""

import hashlib
from collections import Counter, defaultdict

import numpy as np

from pipeline.data.intake.ingest import Row
from pipeline.data.intake.params import DataParams
from pipeline.data.intake.source import Label
from pipeline.data.prepared.shards import Indices
from pipeline.errors import DataError

SPLITS = ("train", "val", "test")
FEWEST_CLASSES = 2


def number_classes(labels: list[Label], names: list[str] | None) -> tuple[list[str], Indices]:
    """Class names, and the class number of every label.

    names: the classes in their order; None: the sorted names found, or 0 to the largest integer found.
    Raises DataError for fewer than two classes, or integers with a gap.
    """
    found = sorted(set(labels))  # a source has labels of one kind
    classes = names if names is not None else _name_classes(found)
    if len(found) < FEWEST_CLASSES:
        raise DataError(
            f"all {len(labels)} usable rows are of one class, {found[0]!r}; a classifier needs at least two"
        )
    numbers = {name: number for number, name in enumerate(classes)}
    return classes, np.array(
        [numbers[label] if isinstance(label, str) else label for label in labels], np.int64
    )


def _name_classes(found: list[Label]) -> list[str]:
    largest = found[-1]
    if isinstance(largest, int) and largest + 1 != len(found):
        missing = next(number for number, label in enumerate(found) if number != label)
        raise DataError(
            f"integer labels reach {largest}, but label {missing} has no image; number the classes from 0 "
            "without gaps, or list all classes in classes.json to have others quarantined"
        )
    return [str(label) for label in found]


def assign_splits(
    rows: list[Row], labels: Indices, classes: list[str], own: list[str], params: DataParams
) -> dict[str, Indices]:
    """Row indices of train, val and test, each in source order.

    own: splits that the source brings and keeps; the others are carved out of train, in every class the same
    fraction. Which rows depends on the seed and on their pixels, not on their order. Raises DataError for a
    split that would be empty, a class too small to be in every split or absent from train.
    """
    splits = {
        split: np.array([i for i, row in enumerate(rows) if row.split == split], np.int64) for split in own
    }
    wanted = {"val": params.val_fraction, "test": params.test_fraction}
    fractions = {split: fraction for split, fraction in wanted.items() if split not in own}
    _check_train(splits["train"], labels, classes, fractions)
    carved = _carve(rows, labels, splits["train"], fractions, params.seed)
    splits |= carved
    splits["train"] = np.setdiff1d(splits["train"], np.concatenate([np.empty(0, np.int64), *carved.values()]))
    empty = [split for split in SPLITS if len(splits[split]) == 0]
    if empty:
        raise DataError(
            f"split {empty[0]!r} has no usable row; mend {empty[0]}.parquet, or remove it to carve one out"
        )
    return {split: splits[split] for split in SPLITS}


def _check_train(train: Indices, labels: Indices, classes: list[str], fractions: dict[str, float]) -> None:
    for split, fraction in fractions.items():
        if fraction == 0:
            raise DataError(
                f"split {split!r} would be empty: the source has none of its own and data.{split}_fraction "
                "is 0; raise it"
            )
    counts = np.bincount(labels[train], minlength=len(classes)).tolist()
    fewest = 1 + len(fractions)
    for name, count in zip(classes, counts, strict=True):
        if count == 0:
            raise DataError(
                f"class {name!r} has no usable image in train; add some, or take the class out of the table"
            )
        if count < fewest:
            raise DataError(
                f"class {name!r} has {count} usable image{'s' if count > 1 else ''}, but "
                f"{' and '.join(['train', *fractions])} need one each; add images, or take the class out of "
                "the table"
            )


def _carve(
    rows: list[Row], labels: Indices, train: Indices, fractions: dict[str, float], seed: int
) -> dict[str, Indices]:
    """Rows of each class in the order of a keyed digest of their pixels, cut into pieces.

    Equal images are neighbours in that order, so duplicates mostly stay on one side of a cut.
    """
    key = seed.to_bytes(8, "little")
    members: defaultdict[int, list[int]] = defaultdict(list)
    for index in train.tolist():
        members[int(labels[index])].append(index)
    taken: dict[str, list[int]] = {split: [] for split in fractions}
    for _, indices in sorted(members.items()):
        shuffled = sorted(indices, key=lambda index: hashlib.blake2b(rows[index].digest, key=key).digest())
        for split, size in _sizes(len(indices), fractions).items():
            taken[split] += shuffled[:size]
            shuffled = shuffled[size:]
    return {split: np.sort(np.array(indices, np.int64)) for split, indices in taken.items()}


def _sizes(count: int, fractions: dict[str, float]) -> dict[str, int]:
    """Rows of a class for each carved split: rounded half up, at least one, one left for each other."""
    sizes: dict[str, int] = {}
    left = count
    for position, (split, fraction) in enumerate(fractions.items()):
        following = len(fractions) - position
        sizes[split] = min(max(1, int(count * fraction + 0.5)), left - following)
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
