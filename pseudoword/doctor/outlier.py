"""A single picture of lines and textures that no other picture has, which may show in all that the word draws.

As anomalies are found by the nearest neighbours of patches (Roth et al. 2022, PatchCore), with plain histograms of
gradients (Dalal and Triggs 2005) in place of a network's features: strength counts, so they are not normalised.
"""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pseudoword.captions.words import scene_words
from pseudoword.doctor.case import CannotTell, Case, shown
from pseudoword.findings import Finding, names

Array = NDArray[np.floating[Any]]

MIN_PICTURES, MAX_PICTURES = 5, 100  # of fewer none is usual, and one of more is seen too rarely to assert itself
CELLS, DIRECTIONS = 16, 8  # cells along a side
MIN_RATIO_TO_NEXT, MIN_RATIO_TO_MEDIAN = 1.4, 2.0  # how far above the next and the median picture: see docs/doctor.md
MIN_NOVELTY = 0.01  # novelty of a copy


def outlier(case: Case) -> list[Finding]:
    """The one picture that is made of other lines and textures than all others, if there is one."""
    pictures = case.distinct
    if not MIN_PICTURES <= len(pictures) <= MAX_PICTURES:
        raise CannotTell(f"it compares {MIN_PICTURES} to {MAX_PICTURES} pictures, and there are {len(pictures)}")
    novel = novelty([strokes(picture.grey) for picture in pictures])
    oddest = int(novel.argmax())
    others = np.maximum(np.delete(novel, oddest), MIN_NOVELTY)
    above_next, above_usual = float(novel[oddest] / others.max()), float(novel[oddest] / np.median(others))
    if above_next < MIN_RATIO_TO_NEXT or above_usual < MIN_RATIO_TO_MEDIAN:
        return []
    return [
        Finding(
            check="outlier",
            severity="info",
            message=f"{pictures[oddest].source} is made of lines and textures that no other picture has: its parts are "
            f"{above_usual:.1f} times as unlike theirs as is usual here. So strong a single picture can assert itself "
            f"in all that the word draws{_words_alone(case, oddest)}.",
            advice="Leave it out, crop away what only it shows, or name that in its caption, so that the word need not "
            "learn it.",
            pictures=shown([pictures[oddest]]),
            figure={"above_median": round(above_usual, 2), "above_next": round(above_next, 2)},
        )
    ]


def strokes(grey: NDArray[np.uint8]) -> Array:
    """(CELLS * CELLS, 2 * DIRECTIONS): how strong the lines of each direction are in each cell, fine ones and coarse.

    Roots of grey levels per px, of the picture at 256 and at 128 px.
    """
    half = np.asarray(Image.fromarray(grey).resize((128, 128), Image.Resampling.BOX))
    return np.asarray(np.sqrt(np.concatenate([_gradients(grey), _gradients(half)], 1)))


def _gradients(grey: NDArray[np.uint8]) -> Array:
    down, across = np.gradient(grey.astype(np.float32))
    strength, direction = np.hypot(across, down), np.arctan2(down, across) % np.pi
    bins = (direction * (DIRECTIONS / np.pi)).astype(np.int64) % DIRECTIONS
    px = len(grey) // CELLS
    parts = [
        (strength * (bins == direction)).reshape(CELLS, px, CELLS, px).mean((1, 3)).ravel()
        for direction in range(DIRECTIONS)
    ]
    return np.stack(parts, 1)


def novelty(pictures: list[Array]) -> Array:
    """(N,) how far the cells of each picture, on average, are from the nearest cell of any other picture."""
    nearest = [np.full(len(cells), np.inf, np.float32) for cells in pictures]
    squares = [(cells**2).sum(1) for cells in pictures]
    for i, j in combinations(range(len(pictures)), 2):
        distances = squares[i][:, None] + squares[j] - 2 * pictures[i] @ pictures[j].T
        np.minimum(nearest[i], distances.min(1), out=nearest[i])
        np.minimum(nearest[j], distances.min(0), out=nearest[j])
    return np.array([np.sqrt(np.maximum(cells, 0)).mean() for cells in nearest])


def _words_alone(case: Case, index: int) -> str:
    """Words of its caption that no other caption has. Whether they mean what is seen cannot be known here."""
    if case.captions is None:
        return ""
    captions = case.captions
    words = [scene_words(captions.get(picture.id, ""), case.intent.init_text) for picture in case.distinct]
    alone = [f"'{word}'" for word in sorted(words.pop(index).difference(*words))]
    if not alone:
        return "; its caption has no word that the others lack"
    return f"; only its caption says {names(alone)}, see whether that names it"
