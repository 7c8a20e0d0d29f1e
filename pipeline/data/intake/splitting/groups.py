"""Splits of whole groups: none is torn apart, and each class is spread as well as groups allow.

Letters: N rows, G groups, S strata, P parts.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from pipeline.data.fields.number import Doubles
from pipeline.data.prepared.shards import Indices


def shared_out(groups: Indices, strata: Indices, names: Sequence[str], shares: Doubles, seed: int) -> Indices:
    """The part of each group, (G,): large groups first, each into the part that lacks most of what it holds.

    groups, strata: of each row (N,). names: of the groups, by which those of one size are ordered, with the
    seed. shares: of the rows that each part should get, (P,). What a part lacks is counted in squares of
    rows, so that a small part is not given a group that it cannot hold. In time linear in what groups hold.
    """
    sizes = np.bincount(groups, minlength=len(names))
    held = _held(groups, strata)
    wanted_PS = shares[:, None] * np.bincount(strata)[None, :]
    weights_S = 1 / np.maximum(np.bincount(strata), 1) ** 2
    parts = np.zeros(len(names), np.int64)
    for group in _largest_first(sizes, names, seed):
        members, counts = held[group]
        lacking = wanted_PS[:, members]
        gain = ((lacking**2 - (lacking - counts) ** 2) * weights_S[members]).sum(axis=1)
        part = int(np.argmax(gain))
        parts[group] = part
        wanted_PS[part, members] -= counts
    return parts


def _held(groups: Indices, strata: Indices) -> list[tuple[Indices, Indices]]:
    """The strata of each group, and how many rows of each."""
    pairs = np.stack([groups, strata], axis=1)
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    edges = np.flatnonzero(np.diff(found[:, 0])) + 1
    return list(zip(np.split(found[:, 1], edges), np.split(counts, edges), strict=True))


def _largest_first(sizes: Indices, names: Sequence[str], seed: int) -> list[int]:
    key = seed.to_bytes(8, "little")
    drawn = [hashlib.blake2b(name.encode(), key=key, digest_size=8).digest() for name in names]
    return sorted(range(len(names)), key=lambda group: (-sizes[group], drawn[group]))
