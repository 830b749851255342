"""A single picture of lines and textures that no other picture has, which may show in all that the word draws.

As anomalies are found by the nearest neighbours of patches (Roth et al. 2022, PatchCore), with plain histograms of
gradients (Dalal and Triggs 2005) in place of a network's features: strength counts, so they are not normalised.
"""

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pseudoword.doctor.case import Case, shown
from pseudoword.doctor.finding import Finding, names
from pseudoword.doctor.texts import content_words

Array = NDArray[np.floating[Any]]

FEW, MANY = 5, 100  # pictures: of fewer none is usual, and one of more is seen too rarely to assert itself
CELLS, DIRECTIONS = 16, 8  # cells along a side
NEXT, USUAL = 1.4, 2.0  # how far above the next and the median picture: see docs/doctor.md
NONE = 0.01  # novelty of a copy


def outlier(case: Case) -> list[Finding]:
    """The one picture that is made of other lines and textures than all others, if there is one."""
    pictures = case.own
    if not FEW <= len(pictures) <= MANY:
        return []
    novel = novelty([strokes(picture.grey) for picture in pictures])
    at = int(novel.argmax())
    others = np.maximum(np.delete(novel, at), NONE)
    above_next, above_usual = float(novel[at] / others.max()), float(novel[at] / np.median(others))
    if above_next < NEXT or above_usual < USUAL:
        return []
    return [
        Finding(
            check="outlier",
            severity="info",
            message=f"{pictures[at].source} is made of lines and textures that no other picture has: its parts are "
            f"{above_usual:.1f} times as unlike theirs as is usual here. So strong a single picture can assert itself "
            f"in all that the word draws{_own_words(case, at)}.",
            advice="Leave it out, crop away what only it shows, or name that in its caption, so that the word need not "
            "learn it.",
            pictures=shown([pictures[at]]),
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
    parts = [(strength * (bins == one)).reshape(CELLS, px, CELLS, px).mean((1, 3)).ravel() for one in range(DIRECTIONS)]
    return np.stack(parts, 1)


def novelty(pictures: list[Array]) -> Array:
    """(N,) how far the cells of each picture, on average, are from the nearest cell of any other picture."""
    nearest = [np.full(len(cells), np.inf, np.float32) for cells in pictures]
    squares = [(cells**2).sum(1) for cells in pictures]
    for one, other in combinations(range(len(pictures)), 2):
        distances = squares[one][:, None] + squares[other] - 2 * pictures[one] @ pictures[other].T
        np.minimum(nearest[one], distances.min(1), out=nearest[one])
        np.minimum(nearest[other], distances.min(0), out=nearest[other])
    return np.array([np.sqrt(np.maximum(cells, 0)).mean() for cells in nearest])


def _own_words(case: Case, at: int) -> str:
    """Words of its caption that no other caption has. Whether they mean what is seen cannot be known here."""
    if case.captions is None:
        return ""
    captions = case.captions
    words = [content_words(captions.get(picture.id, ""), case.intent.init_text) for picture in case.own]
    own = [f"'{word}'" for word in sorted(words.pop(at).difference(*words))]
    if not own:
        return "; its caption has no word that the others lack"
    return f"; only its caption says {names(own)}, see whether that names it"
