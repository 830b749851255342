"""Where a picture is worth looking at: the weighted mean of its faces, of its corners and of its richest window."""

from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pseudoword.pictures.faces import Face, FaceFinder
from pseudoword.pictures.shapes import Px, cover_box
from pseudoword.settings.preprocess import FocalSettings

Kind = Literal["face", "edges", "entropy"]
MAX_SIDE_PX = 1536  # px: larger pictures are looked at scaled down
MAX_CORNERS = 100
MIN_QUALITY = 0.04  # of the best corner's strength
MIN_DISTANCE = 0.06  # between corners, as a share of the short side
WATERMARK_SHARE = 0.1  # of the height at the bottom, which may hold lettering
WATERMARK_GREY = 0x99  # painted over it
STRIDE_PX, GREYS = 4, 32  # px between the windows, and the levels whose mix is measured
EYE_LEVEL = 0.33  # of a face's height


class Point(NamedTuple):
    """What one of the three looks found; x, y in shares of the width and height."""

    kind: Kind
    x: float
    y: float
    weight: float


class Focus(NamedTuple):
    """centre in shares, the points that it is the mean of, and the faces in shares; all empty: the middle."""

    centre: tuple[float, float]
    points: list[Point]
    faces: list[Face]


MIDDLE = Focus((0.5, 0.5), [], [])


def find_focus(image: Image.Image, target: Px, weights: FocalSettings, find_faces: FaceFinder) -> Focus:
    """Where to centre a crop of the aspect ratio of `target`.

    The picture is looked at as large as it would be used, so that a face or a corner counts by what will be seen of it.
    """
    box = cover_box(image.size, target)
    if box == (0, 0, *image.size):
        return MIDDLE
    scale = min(target[0] / (box[2] - box[0]), MAX_SIDE_PX / max(image.size))
    width, height = (max(int(side * scale + 1e-6), 1) for side in image.size)
    seen = image.resize((width, height), Image.Resampling.LANCZOS)
    grey = np.asarray(seen.convert("L"))
    faces = find_faces(seen) if weights.face else []
    window = max(round((box[2] - box[0]) * scale), 1), max(round((box[3] - box[1]) * scale), 1)
    found: list[tuple[Kind, tuple[float, float] | None, float]] = [
        ("face", face_point(faces), weights.face),
        ("edges", edge_point(grey) if weights.edges else None, weights.edges),
        ("entropy", entropy_point(grey, window) if weights.entropy else None, weights.entropy),
    ]
    points = [Point(kind, xy[0] / width, xy[1] / height, weight) for kind, xy, weight in found if xy and weight]
    shares = [(x / width, y / height, w / width, h / height) for x, y, w, h in faces]
    return Focus(_mean(points, (width, height)), points, shares)


def _mean(points: list[Point], px: Px) -> tuple[float, float]:
    """The weighted mean, rounded to a pixel of the picture that was looked at."""
    total = sum(point.weight for point in points)
    if not total:
        return MIDDLE.centre
    x = sum(point.x * point.weight for point in points) / total
    y = sum(point.y * point.weight for point in points) / total
    return round(x * px[0]) / px[0], round(y * px[1]) / px[1]


def face_point(faces: list[Face]) -> tuple[float, float] | None:
    """Between the eyes of all faces, in px."""
    if not faces:
        return None
    eyes = [(x + w / 2, y + h * EYE_LEVEL) for x, y, w, h in faces]
    return sum(x for x, _ in eyes) / len(eyes), sum(y for _, y in eyes) / len(eyes)


def edge_point(grey: NDArray[np.uint8]) -> tuple[float, float] | None:
    """The mean of the strongest corners (Shi and Tomasi 1994) of (H, W), in px."""
    guarded = grey.copy()
    guarded[round(grey.shape[0] * (1 - WATERMARK_SHARE)) :] = WATERMARK_GREY
    corners = cv2.goodFeaturesToTrack(guarded, MAX_CORNERS, MIN_QUALITY, min(grey.shape) * MIN_DISTANCE)
    if corners is None:
        return None
    x, y = np.asarray(corners, np.float64).reshape(-1, 2).mean(0)
    return float(x), float(y)


def entropy_point(grey: NDArray[np.uint8], window: Px) -> tuple[float, float] | None:
    """The middle of the window along the long axis whose greys have the highest Shannon entropy, in px.

    Of equals the one nearest to the picture's middle; None where there is one place only.
    """
    height, width = grey.shape
    across = width - window[0] >= height - window[1]
    lines = grey if across else grey.T  # (short, long): windows move along the second axis
    length, reach = lines.shape[1], window[0] if across else window[1]
    starts = np.arange(0, length - reach + 1, STRIDE_PX)
    if len(starts) < 2:
        return None
    levels = lines // (256 // GREYS)
    counts = np.stack([(levels == level).sum(0) for level in range(GREYS)], 1)  # (long, GREYS)
    below = np.concatenate([np.zeros((1, GREYS), np.int64), counts.cumsum(0)])
    share = (below[starts + reach] - below[starts]) / (reach * lines.shape[0])
    entropy = -(share * np.log2(np.where(share > 0, share, 1))).sum(1).round(6)
    best = np.flatnonzero(entropy == entropy.max())
    start = best[np.abs(best * STRIDE_PX + reach / 2 - length / 2).argmin()] * STRIDE_PX
    along = float(start + reach / 2)
    return (along, height / 2) if across else (width / 2, along)
