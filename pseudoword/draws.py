"""Random numbers as functions of a key, not of a stream.

Each is a pure function of (seed, stream, a, b), so a resumed run, another split into micro-batches or another device
sees the same draws. Philox (Salmon et al. 2011) makes that cheap: the key is the counter.
"""

from enum import IntEnum

import numpy as np
from numpy.random import Generator, Philox


class Stream(IntEnum):
    """The purposes of draws; equal keys of different streams are independent."""

    ORDER = 0
    TIMESTEPS = 1
    SAMPLE = 2
    SCORE = 3
    PICTURE = 4
    POSTERIOR = 5
    HYPERNETWORK = 7
    DROPOUT = 8


def generator(seed: int, stream: Stream, a: int = 0, b: int = 0) -> Generator:
    """A generator for the draws of one key, e.g. (seed, SAMPLE, step, sample)."""
    return Generator(Philox(key=np.array([seed, stream], np.uint64), counter=np.array([0, 0, a, b], np.uint64)))
