"""Marks at the same place in many pictures, and pictures that should not be mirrored."""

from itertools import combinations
from math import ceil

import numpy as np
from numpy.typing import NDArray

from pseudoword.doctor.case import Case, shown, sources
from pseudoword.doctor.finding import Finding, names
from pseudoword.doctor.matching import Comparable, handedness
from pseudoword.doctor.pictures import Picture, progress

MANY = 0.7  # of the pictures, and at least
AT_LEAST = 3
EDGE = 6  # grey levels per px
CELL = 16  # px of 256
DENSE = 0.12  # of a cell: pictures of one thing reach 0.05, lettering 0.15 to 0.4
CELLS = 3
HANDED = 0.15  # mean gain of the correlation when pictures are compared unmirrored
COMPARED = 24  # pictures, which is enough to tell


def marks(case: Case) -> list[Finding]:
    """Edges in both directions that lie on the same spot in most pictures: a watermark, a logo, a date."""
    pictures = case.own
    need = max(AT_LEAST, ceil(MANY * len(pictures)))
    if len(pictures) < need:
        return []
    dense = np.minimum(_persistent(pictures, need, axis=1), _persistent(pictures, need, axis=0)) >= DENSE
    if dense.sum() < CELLS:
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


def _persistent(pictures: list[Picture], need: int, axis: int) -> NDArray[np.float64]:
    """For each cell the share of px where at least `need` pictures have an edge of the same sign along `axis`."""
    rising, falling = np.zeros((256, 256), np.int32), np.zeros((256, 256), np.int32)
    for picture in pictures:
        slope = np.gradient(picture.grey.astype(np.float32), axis=axis)
        rising += slope > EDGE
        falling += slope < -EDGE
    there = ((rising >= need) | (falling >= need)).reshape(256 // CELL, CELL, 256 // CELL, CELL)
    return np.asarray(there.mean((1, 3)), np.float64)


def _place(dense: NDArray[np.bool_]) -> str:
    row, column = (float(np.mean(at)) / (len(dense) - 1) for at in np.nonzero(dense))
    high = "top" if row < 1 / 3 else "bottom" if row > 2 / 3 else "middle"
    wide = "left" if column < 1 / 3 else "right" if column > 2 / 3 else ""
    return " ".join(filter(None, [high, wide]))


def mirrored(case: Case) -> list[Finding]:
    """Mirrored copies are made although the pictures have a left and a right, or nothing shows that they have not."""
    copies = [picture for picture in case.pictures if picture.mirrored]
    if not copies:
        return []
    prepared = [Comparable(picture.grey) for picture in case.own[:COMPARED]]
    pairs = progress(list(combinations(range(len(prepared)), 2)), "mirror", "pair")
    gains = [handedness(prepared[one], prepared[other]) for one, other in pairs]
    gain = float(np.mean(gains)) if gains else 0.0
    handed = gain >= HANDED
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
