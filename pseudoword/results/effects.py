"""How much a setting changes a measure, as paired differences with intervals.

Letters in shapes: T trainings that differ from their partners in one setting alone, P pictures, the same prompts and
noise for all.

Pictures and trainings are both samples: other prompts and another `train.seed` would have given other numbers. So the
variance of a mean difference has a part from each, as with two-way clustering (Cameron, Gelbach and Miller 2011,
"Robust inference with multiway clustering", without the term that they subtract: a little wider), with the degrees of
freedom of Satterthwaite (1946). Where nothing was trained twice, the part of the trainings is unknown, and an interval
holds for these trainings alone.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]
Settings = Mapping[str, Hashable]
SEED = "train.seed"  # tells repetitions apart; it is no setting with an effect of its own
CONFIDENCE = 0.95
NEGLIGIBLE = 1e-4  # of any measure: as much as another number of threads may bring


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval; NaN bounds where nothing is known of its spread."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the evidence shows a difference, and one that is more than rounding."""
        return (self.low > 0 or self.high < 0) and abs(self.value) > NEGLIGIBLE


@dataclass(frozen=True)
class Trained:
    """One training: the value of each setting that differs somewhere, and of each measure the pictures' values."""

    settings: Settings
    measured: Mapping[str, Floats]  # (P,), NaN where there is no measurement


@dataclass(frozen=True)
class Effect:
    """The change of `measure` when each of `changes` goes from its first value to its second.

    One change is a main effect. Two are an interaction: by how much the effect of one depends on the other.
    """

    measure: str
    changes: tuple[tuple[str, Hashable, Hashable], ...]
    difference: Interval
    trainings: int  # T


def mean_difference(differences: Floats, comparisons: int = 1) -> Interval:
    """The mean of paired differences (T, P). The interval holds for all of so many comparisons at once (Šidák 1967).

    A picture that one training lacks is left out of all.
    """
    differences = differences[:, ~np.isnan(differences).any(0)]
    pictures = differences.shape[1]
    if pictures == 0:
        return Interval(np.nan, np.nan, np.nan)
    mean = float(differences.mean())
    parts = [(differences.mean(1 - axis), differences.shape[axis]) for axis in (0, 1)]
    known = [(float(means.var(ddof=1)) / number, number - 1) for means, number in parts if number > 1]
    if pictures == 1 or not known:
        return Interval(mean, np.nan, np.nan)
    variance = sum(part for part, _ in known)
    if variance == 0:
        return Interval(mean, mean, mean)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in known)
    confidence = CONFIDENCE ** (1 / comparisons)
    half = float(stdtrit(freedom, (1 + confidence) / 2)) * variance**0.5
    return Interval(mean, mean - half, mean + half)


def main_effects(runs: Sequence[Trained], measures: Sequence[str], usual: Settings) -> list[Effect]:
    """Of each setting that differs: each value against the usual one, or the first where the usual one is not there."""
    changes = [(change,) for change in _changes(runs, usual)]
    return _effects(runs, measures, changes)


def interactions(runs: Sequence[Trained], measures: Sequence[str], usual: Settings) -> list[Effect]:
    """Of each two settings whose values were all tried together."""
    pairs = [(a, b) for a, b in combinations(_changes(runs, usual), 2) if a[0] != b[0]]
    return _effects(runs, measures, pairs)


def _changes(runs: Sequence[Trained], usual: Settings) -> Iterator[tuple[str, Hashable, Hashable]]:
    for key in dict.fromkeys(key for run in runs for key in run.settings):
        values = list(dict.fromkeys(run.settings.get(key) for run in runs))
        reference = usual.get(key) if usual.get(key) in values else values[0]
        if key != SEED:
            yield from ((key, reference, value) for value in values if value != reference)


def _effects(
    runs: Sequence[Trained], measures: Sequence[str], changes: Sequence[tuple[tuple[str, Hashable, Hashable], ...]]
) -> list[Effect]:
    matched = [(change, groups) for change in changes if (groups := list(_groups(runs, change)))]
    return [
        Effect(
            measure,
            change,
            mean_difference(np.stack([_signed_sum(group, measure) for group in groups]), len(matched)),
            len(groups),
        )
        for measure in measures
        for change, groups in matched
    ]


def _groups(
    runs: Sequence[Trained], changes: tuple[tuple[str, Hashable, Hashable], ...]
) -> Iterator[list[tuple[int, Trained]]]:
    """Trainings that are alike in all but the changed settings, one for each combination of values, with its sign."""
    keys = {key for key, _, _ in changes}
    corners: dict[Hashable, dict[tuple[bool, ...], Trained]] = {}
    for run in runs:
        if all(run.settings.get(key) in values for key, *values in changes):
            rest = frozenset((key, value) for key, value in run.settings.items() if key not in keys)
            corner = tuple(run.settings.get(key) == value for key, _, value in changes)
            corners.setdefault(rest, {})[corner] = run
    for group in corners.values():
        if len(group) == 2 ** len(changes):
            yield [((-1) ** (len(corner) - sum(corner)), run) for corner, run in group.items()]


def _signed_sum(group: list[tuple[int, Trained]], measure: str) -> Floats:
    total: Floats = np.sum([sign * run.measured[measure] for sign, run in group], axis=0)
    return total
