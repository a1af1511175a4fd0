"""The random stream: a hash of (seed, question, trial, path of draws), so that no result depends on any other.

    trial key   mix(mix(seed, question key), trial)       also the key of the prompt
    node key    mix(key of its parent, draw + 1)
    draws       keyed Fisher-Yates permutation of the pool: step i takes the bits mix(key, 2^32 + i)
    ties        mix(key, 2^33)

`kernels/draws.py` is the same in compiled form.
"""

from __future__ import annotations

import hashlib

import numpy as np

from tts_sim.arrays import UInt64s

MASK = (1 << 64) - 1
PERMUTE = 1 << 32  # counters of a node's permutation


def mix(key: int, counter: int) -> int:
    """A uniform 64-bit number for (key, counter): the finaliser of splitmix64 (Steele et al. 2014)."""
    z = (key + 0x9E3779B97F4A7C15 * (counter + 1)) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def mixed(key: UInt64s | np.uint64, counter: UInt64s | np.uint64) -> UInt64s:
    """`mix` of every element, of which there is one at least."""
    z = key + np.uint64(0x9E3779B97F4A7C15) * (np.atleast_1d(counter) + np.uint64(1))
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def question_key(question_id: str) -> int:
    """The first eight bytes of the BLAKE2b hash of the question's id, as a little-endian number."""
    return int.from_bytes(hashlib.blake2b(question_id.encode()).digest()[:8], "little")


def checked_seed(seed: int) -> int:
    """The seed itself. Raises ValueError unless it is an integer in 0 : 2**64."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MASK:
        raise ValueError(f"seed {seed!r}: expected an integer from 0 to 2**64 - 1.")
    return seed
