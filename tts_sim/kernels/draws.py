"""The random stream inside kernels: a hash of counters, the same as tts_sim/draws.py in 64-bit arithmetic."""

from __future__ import annotations

import numpy as np

from tts_sim.arrays import Int, Int64s, Key, Trees
from tts_sim.kernels._jit import kernel_inlined

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MULTIPLIER_1 = np.uint64(0xBF58476D1CE4E5B9)
MULTIPLIER_2 = np.uint64(0x94D049BB133111EB)
ONE = np.uint64(1)
PERMUTE = np.uint64(1 << 32)  # counters of a node's permutation; below it: keys of its children
TIE = np.uint64(1 << 33)  # counters that break ties


@kernel_inlined
def mix(key: Key, counter: Key) -> Key:
    """A uniform 64-bit number for (key, counter): the finaliser of splitmix64."""
    z = key + GOLDEN * (counter + ONE)
    z = (z ^ (z >> np.uint64(30))) * MULTIPLIER_1
    z = (z ^ (z >> np.uint64(27))) * MULTIPLIER_2
    return z ^ (z >> np.uint64(31))


@kernel_inlined
def child_key(key: Key, draw: Int) -> Key:
    """The key of a node's child in a trial; `key` is the node's own."""
    return mix(key, np.uint64(draw) + ONE)


@kernel_inlined
def draw_prefix(key: Key, pool: Int, count: Int, places: Int64s, swapped: Int64s, picked: Int64s) -> None:
    """Write the first `count` draws of the keyed permutation of range(pool) into `picked`.

    `places` holds 0, 1, 2, … up to at least the pool and is left so; `swapped` is scratch. O(count), whatever the pool.
    Multiplying the upper 32 bits instead of rejecting biases a draw by less than pool / 2^32.
    """
    for i in range(count):
        bits = mix(key, PERMUTE + np.uint64(i)) >> np.uint64(32)
        j = i + np.int64((bits * np.uint64(pool - i)) >> np.uint64(32))
        picked[i] = places[j]
        places[j] = places[i]
        swapped[i] = j
    for i in range(count):
        places[swapped[i]] = swapped[i]


@kernel_inlined
def pool_size(trees: Trees, v: Int, pool: Int) -> Int:
    """Draws that a replay may ask of node v: the run's pool, or what is cached if `pool` is IMPORTED."""
    if pool >= 0:
        return pool
    return np.int64(trees.child_stop[v] - trees.child_start[v])


@kernel_inlined
def cached_child(trees: Trees, v: Int, draw: Int, pool: Int) -> Int:
    """Row of the child that is draw number `draw` of v, or -1 if it is not cached.

    In an imported run the draws are the cached children, whatever their numbers.
    """
    start = np.int64(trees.child_start[v])
    stop = np.int64(trees.child_stop[v])
    if pool < 0:
        return start + draw if start + draw < stop else np.int64(-1)
    low, high = start, min(stop, start + draw + 1)  # draws are distinct and sorted: never further right
    if high == start + draw + 1 and trees.draw[high - 1] == draw:
        return high - 1
    while low < high:
        middle = (low + high) // 2
        if trees.draw[middle] < draw:
            low = middle + 1
        else:
            high = middle
    return low if low < stop and trees.draw[low] == draw else np.int64(-1)
