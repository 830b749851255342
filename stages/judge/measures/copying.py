"""Copying: does a picture repeat a training picture as a whole?

value          1 where the nearest training picture is less than a quarter as far as training pictures are from their
               own nearest one, else 0. NaN with pictures of a single file, which say nothing of how far is usual
direction      lower is better
source         nearest training picture, against how near is usual (Somepalli et al. 2023 ask the same with a copy
               detector). The quarter is measured, see docs/decisions/0009
preprocessing  thumbnails of 32 x 32 colours, each channel less its mean, 1 - cosine, the least over all shifts by up to
               2: they hold the place of everything, which the judges' features leave out
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from stages.judge.measures.measure import Evidence, Floats, Measure, Sight, Training

SHIFT = 2  # px of a thumbnail
MAX_SHARE = 0.25  # of the usual distance


def nearest(drawn: Sight, training: Training) -> list[str]:
    """The id of each picture's nearest training picture."""
    return [training.ids[place] for place in _distances(drawn, training.sight).argmin(1)]


def copying(evidence: Evidence) -> Floats:
    usual = _usual(evidence.training)
    near = _distances(evidence.drawn, evidence.training.sight).min(1)
    return np.full(len(near), np.nan) if np.isnan(usual) else (near < MAX_SHARE * usual).astype(np.float64)


@lru_cache(maxsize=1)  # of the training set, which all columns are held against
def _usual(training: Training) -> float:
    """The mean distance of a training picture from the nearest one of another file; NaN where there is none."""
    apart = training.apart()
    if not apart.any():
        return float("nan")
    distances = np.where(apart, _distances(training.sight, training.sight), np.inf)
    return float(distances.min(1).mean())


@lru_cache(maxsize=2)  # of the column for both functions above, and of the training set
def _distances(one: Sight, other: Sight) -> Floats:
    """(n, m) from 0 to 2: of the middle of one picture to whatever window of the other is most like it."""
    middle, nearness = _windows(one, SHIFT, SHIFT), np.full((len(one.thumbnails), len(other.thumbnails)), -1.0)
    for down in range(2 * SHIFT + 1):
        for right in range(2 * SHIFT + 1):
            np.maximum(nearness, middle @ _windows(other, down, right).T, out=nearness)
    return 1 - nearness


def _windows(sight: Sight, down: int, right: int) -> NDArray[np.float32]:
    """(n, D) unit vectors: the colours of a window that is 2 x SHIFT smaller, each channel less its mean."""
    side = sight.thumbnails.shape[1] - 2 * SHIFT
    window = sight.thumbnails[:, down : down + side, right : right + side]
    flat = (window - window.mean((1, 2), keepdims=True)).reshape(len(window), -1)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(length, 1e-6), np.float32)


COPYING = Measure("copying", False, copying)
