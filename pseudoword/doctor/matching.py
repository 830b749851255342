"""Whether two pictures are one photograph: shifted, cropped, enlarged, mirrored, recoloured or compressed.

A hash of the whole picture (dHash, pHash) finds copies that were compressed or recoloured. It does not find the same
photograph in another crop, which is what folders of pictures are full of. So fine detail is correlated at every shift,
over the overlapping part alone, at several scales: at 64 px for all pairs, and where that is promising at 128 px, where
two photographs of one thing part from two crops of one photograph.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

Array = NDArray[np.floating[Any]]
Spectrum = NDArray[np.complexfloating[Any, Any]]

LOOK_PX, CONFIRM_PX = 64, 128  # px at which pictures are compared, at first and where that was promising
DETAIL_RADIUS_PX = 4  # px, radius of what is too coarse to tell photographs apart
MIN_OVERLAP = 0.5  # of the smaller picture, at least
SCALES = (1.0, 0.9, 0.81, 0.73, 0.66)
FINE_FACTORS = (0.94, 0.96, 0.98, 1.02, 1.04, 1.06)
FINEST_FACTORS = (0.985, 0.99, 0.995, 1.0, 1.005, 1.01, 1.015)
REFINE_FROM, CONFIRM_FROM = 0.4, 0.8  # correlations from which the scale is refined, and the match confirmed
COPY_CORRELATION = 0.95  # correlation at 64 px that only one photograph reaches
MIN_SPREAD = 2.0  # grey levels of standard deviation, below which an overlap holds nothing to compare


class Match(NamedTuple):
    correlation: float  # of fine detail, -1 to 1; of two photographs at most about 0.8
    mirrored: bool


class Pose(NamedTuple):
    """How large the two pictures are shown, at most 1, and whether the second is mirrored."""

    first: float
    second: float
    mirrored: bool

    def times(self, factor: float) -> "Pose":
        """The ratio of the two scales changed by `factor`, the larger of them 1 again."""
        ratio = self.second / self.first * factor
        return Pose(min(1.0, 1 / ratio), min(1.0, ratio), self.mirrored)


class _Spectra(NamedTuple):
    """Fourier transforms of a picture's detail, of its square and of where the picture is; its area in px."""

    detail: Spectrum
    square: Spectrum
    there: Spectrum
    area: int


class Comparable:
    """One picture, prepared for `match`."""

    def __init__(self, grey: NDArray[np.uint8]) -> None:
        self.image = Image.fromarray(grey)
        self._kept: dict[tuple[float, bool], _Spectra] = {}

    def spectra(self, side: int, scale: float, mirrored: bool, shades: bool) -> _Spectra:
        """Of its fine detail, or of its `shades` as they are."""
        # The few scales at which all pairs are looked at are kept, about 2.4 MiB for each picture.
        if shades or side != LOOK_PX or scale not in SCALES:
            return self._transform(side, scale, mirrored, shades)
        if (scale, mirrored) not in self._kept:
            self._kept[scale, mirrored] = self._transform(side, scale, mirrored, shades)
        return self._kept[scale, mirrored]

    def _transform(self, side: int, scale: float, mirrored: bool, shades: bool) -> _Spectra:
        length = round(side * scale)
        small = self.image.resize((length, length), Image.Resampling.BOX)
        coarse = 128.0 if shades else np.asarray(small.filter(ImageFilter.GaussianBlur(DETAIL_RADIUS_PX)), np.float32)
        detail = np.asarray(small, np.float32) - coarse
        detail = detail[:, ::-1] if mirrored else detail
        return _Spectra(_fourier(detail, side), _fourier(detail**2, side), _where(side, length), length**2)


def match(first: Comparable, second: Comparable) -> Match:
    """The best correlation over shifts, scales of either picture, and mirroring of the second."""
    poses = [Pose(1.0, scale, flip) for scale in SCALES for flip in (False, True)]
    poses += [Pose(scale, 1.0, flip) for scale in SCALES[1:] for flip in (False, True)]
    best, pose = _best(first, second, LOOK_PX, poses)
    if best >= REFINE_FROM:
        best, pose = max((best, pose), _best(first, second, LOOK_PX, [pose.times(factor) for factor in FINE_FACTORS]))
    if best >= CONFIRM_FROM:
        best, pose = _best(first, second, CONFIRM_PX, [pose.times(factor) for factor in FINEST_FACTORS])
        # The same thing drawn or cut out before two backgrounds has all its detail in common, but not its shades.
        best = min(best, _correlate(first, second, LOOK_PX, pose, shades=True))
    return Match(best, pose.mirrored)


def handedness(first: Comparable, second: Comparable) -> float:
    """By how much the two coincide better unmirrored than mirrored, -1 to 1; 0 for one photograph and its copy."""
    straight, flipped = (
        _best(first, second, LOOK_PX, [Pose(1.0, scale, flip) for scale in SCALES]
              + [Pose(scale, 1.0, flip) for scale in SCALES[1:]])[0]
        for flip in (False, True)
    )  # fmt: skip
    return 0.0 if max(straight, flipped) > COPY_CORRELATION else max(straight, 0.0) - max(flipped, 0.0)


def _best(first: Comparable, second: Comparable, side: int, poses: list[Pose]) -> tuple[float, Pose]:
    return max((_correlate(first, second, side, pose), pose) for pose in poses)


def _correlate(first: Comparable, second: Comparable, side: int, pose: Pose, shades: bool = False) -> float:
    """The best normalised correlation over all shifts that leave enough overlap."""
    a = first.spectra(side, pose.first, False, shades)
    b = second.spectra(side, pose.second, pose.mirrored, shades)
    area = np.maximum(_correlation(a.there, b.there, side), 1)
    sum_a, sum_b = _correlation(a.detail, b.there, side), _correlation(a.there, b.detail, side)
    spread_a = _correlation(a.square, b.there, side) - sum_a**2 / area
    spread_b = _correlation(a.there, b.square, side) - sum_b**2 / area
    rough = (spread_a > area * MIN_SPREAD**2) & (spread_b > area * MIN_SPREAD**2)
    enough = rough & (area >= MIN_OVERLAP * min(a.area, b.area))
    if not enough.any():
        return -1.0
    together = (_correlation(a.detail, b.detail, side) - sum_a * sum_b / area)[enough]
    return float((together / np.sqrt(spread_a[enough] * spread_b[enough])).max())


def _correlation(a: Spectrum, b: Spectrum, side: int) -> Array:
    return np.fft.irfft2(a * b.conj(), (2 * side, 2 * side))


def _fourier(picture: Array, side: int) -> Spectrum:
    # Twice the side, so that no shift wraps around.
    return np.fft.rfft2(picture, (2 * side, 2 * side))


@cache
def _where(side: int, length: int) -> Spectrum:
    return _fourier(np.ones((length, length), np.float32), side)
