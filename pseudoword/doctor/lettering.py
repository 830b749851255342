"""Marks at the same place in many pictures, and pictures that should not be mirrored."""

from itertools import combinations
from math import ceil

import numpy as np
from numpy.typing import NDArray

from pseudoword.doctor.case import CannotTell, Case, shown, sources
from pseudoword.doctor.matching import Comparable, handedness
from pseudoword.doctor.pictures import MeasuredPicture, progress
from pseudoword.findings import Finding, names

MIN_SHARE = 0.7  # of the pictures must have an edge on the same spot
MIN_PICTURES = 5  # with fewer, shapes coincide by chance: three pictures of grass have edges everywhere
MIN_SLOPE = 6  # grey levels per px of an edge
CELL_PX = 16  # of 256
MIN_DENSITY = 0.12  # of a cell's px, beyond chance: pictures of one thing reach 0.05, lettering 0.15 to 0.4
MIN_CELLS = 3
MIN_GAIN = 0.15  # mean gain of the correlation when pictures are compared unmirrored
MAX_COMPARED = 24  # pictures, which is enough to tell


def marks(case: Case) -> list[Finding]:
    """Edges in both directions that lie on the same spot in most pictures: a watermark, a logo, a date."""
    pictures = case.distinct
    if len(pictures) < MIN_PICTURES:
        raise CannotTell(f"marks show from {MIN_PICTURES} pictures on, and there are {len(pictures)}")
    need = ceil(MIN_SHARE * len(pictures))
    dense = np.minimum(_persistent(pictures, need, axis=1), _persistent(pictures, need, axis=0)) >= MIN_DENSITY
    if dense.sum() < MIN_CELLS:
        return []
    where = _place(dense)
    return [
        Finding(
            check="lettering",
            severity="info",
            message=f"Something with fine edges is at the same spot in most of the {len(pictures)} pictures, at the "
            f"{where}: it may be a watermark, a logo or a date, which the word would learn to draw.",
            advice="Look there; remove it, or crop it away.",
            pictures=shown(pictures),
            figure={"cells": int(dense.sum()), "place": where},
        )
    ]


def _persistent(pictures: list[MeasuredPicture], need: int, axis: int) -> NDArray[np.float64]:
    """For each cell the share of px where at least `need` pictures have an edge of the same sign along `axis`.

    What chance makes of so many edges is taken off: grass and fur have them everywhere.
    """
    slopes = [np.gradient(picture.grey.astype(np.float32), axis=axis) for picture in pictures]
    there, chance = np.zeros((256, 256), bool), np.zeros((256 // CELL_PX,) * 2)
    for sign in (1, -1):
        edges = np.stack([sign * slope > MIN_SLOPE for slope in slopes])
        there |= edges.sum(0) >= need
        chance += _at_least(need, np.stack([_by_cell(edge) for edge in edges]))
    return _by_cell(there) - chance


def _by_cell(edges: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The share of px that are set in each cell of (256, 256)."""
    cells = edges.reshape(256 // CELL_PX, CELL_PX, 256 // CELL_PX, CELL_PX)
    return np.asarray(cells.mean((1, 3)), np.float64)


def _at_least(need: int, shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """How likely at least `need` of N independent events are, whose probabilities are `shares` (N, ...)."""
    likely = np.zeros((need + 1, *shares.shape[1:]))  # of so many events so far, the last of so many or more
    likely[0] = 1
    for share in shares:
        moved = likely * share
        likely -= moved
        likely[1:] += moved[:-1]
        likely[need] += moved[need]
    return np.asarray(likely[need], np.float64)


def _place(dense: NDArray[np.bool_]) -> str:
    row, column = (float(np.mean(indices)) / (len(dense) - 1) for indices in np.nonzero(dense))
    high = "top" if row < 1 / 3 else "bottom" if row > 2 / 3 else "middle"
    wide = "left" if column < 1 / 3 else "right" if column > 2 / 3 else ""
    return " ".join(filter(None, [high, wide]))


def mirrored(case: Case) -> list[Finding]:
    """Mirrored copies are made although the pictures have a left and a right, or nothing shows that they have not."""
    copies = [picture for picture in case.pictures if picture.mirrored]
    if not copies:
        return []
    if len(case.distinct) < 2:
        raise CannotTell("it compares pictures with each other, and there is one")
    prepared = [Comparable(picture.grey) for picture in case.distinct[:MAX_COMPARED]]
    pairs = progress(list(combinations(range(len(prepared)), 2)), "mirror", "pair")
    gains = [handedness(prepared[i], prepared[j]) for i, j in pairs]
    gain = float(np.mean(gains))
    handed = gain >= MIN_GAIN
    message = (
        f"The {len(copies)} mirrored copies, such as that of {names(sources(copies[:1]))}, contradict the others: the "
        "pictures fit each other clearly better as they are than mirrored, so the subject has a left and a right."
        if handed
        else f"There are {len(copies)} mirrored copies ({names(sources(copies))}); faces, hair partings, clothes and "
        "lettering become wrong by that, which cannot be seen by measuring alone."
    )
    return [
        Finding(
            check="mirrored",
            severity="warning" if handed else "info",
            message=message,
            advice="Set preprocess.mirror to none"
            + ("." if handed else " unless the subject is the same from both sides."),
            pictures=shown(copies),
            figure={"gain": round(gain, 3)},
        )
    ]
