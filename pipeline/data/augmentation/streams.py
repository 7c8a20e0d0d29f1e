"""Random numbers as functions of what they are for, instead of states that someone has to carry.

Letters: B batch.
"""

import hashlib

from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio, SplitMix64's increment."""


def stream_seed(*parts: int | str) -> int:
    """A 63-bit seed for a random stream named by `parts`; equal parts, equal stream, on any machine."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def uniform(samples_B: Tensor, seed: int, stream: int) -> Tensor:
    """One number in 0..1 per sample, float32 with 24 random bits: a hash of (seed, stream, sample).

    The mixing is SplitMix64's (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA
    2014), in integers, so that every device gives the same bits.
    """
    start = (seed + stream * GOLDEN) % 2**64
    hashed = samples_B * _signed(GOLDEN) + _signed(start)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        hashed = (hashed ^ ((hashed >> shift) & (2 ** (64 - shift) - 1))) * _signed(factor)
    return ((hashed >> 40) & (2**24 - 1)).float() / 2**24


def _signed(value: int) -> int:
    """The int64 with the bits of a 64-bit unsigned integer."""
    return value - 2**64 if value >= 2**63 else value
