"""Which checkpoint is the best. Pure arithmetic on tables of measures.

Letters in shapes: P pictures of a checkpoint, the same prompts and noise for all; S resamplings.

score      likeness^a x identity^b x obedience^c, with weights that are brought to the sum 1, each a mean over the
           pictures, from 0 to 1; more than 1 earns nothing. What could not be measured for anyone takes no part
veto       a checkpoint that breaks, burns, copies or cannot be told from the init is out, whatever its score
interval   95 %, by a paired bootstrap over prompt x seed (Efron 1979): all checkpoints are resampled alike. Its ends
           are the expanded percentiles of Hesterberg 2015, as the plain ones are too near to each other on few
           pictures; below LEAST_PICTURES those of Student's t; of shares those of Wilson. One picture has no interval:
           then nothing is better than the init, and all ties
tie        the interval of the difference from the best score holds 0, and the difference is small besides
choice     of what ties with the best score, the earliest: what cannot be told apart is chosen as the least trained

Loss never chooses: on few pictures it ranks checkpoints wrongly as often as not.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from pseudoword.records import Share

Floats = NDArray[np.float64]
RULE = ("likeness", "identity", "obedience")
SHARES = ("identity", "copying", "broken")  # measures that are 0 or 1 of a picture
SAMPLES = 1000  # of the bootstrap
HALF = 0.025  # of the probability lies outside the interval on each side
LEAST_PICTURES = 4  # that can be resampled
MIN_SHARE = 1e-3  # keeps the scores of checkpoints without likeness, identity or obedience apart
MAX_TIED_DIFFERENCE = 0.01  # of score: with few pictures much larger ones pass for chance; see docs/decisions/0009
NEAR = 0.02  # of the best score: what a choice may fall short of it
MAX_SEEDS = 32  # that are proposed


@dataclass(frozen=True)
class Candidate:
    """One drawn checkpoint. `measured`: by measure the value of each picture, (P,); NaN where it has none."""

    run: str
    step: int
    measured: Mapping[str, Floats]

    @property
    def key(self) -> tuple[str, int]:
        return self.run, self.step


@dataclass(frozen=True)
class Figure:
    """A mean over pictures with its 95 % interval; all NaN where it could not be measured, the ends of one picture."""

    value: float
    low: float
    high: float


NOTHING = Figure(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Rule:
    weights: Mapping[str, float]  # of RULE, in any unit
    max_broken: float
    max_overbaking: float
    max_copies: float


@dataclass(frozen=True)
class Veto:
    kind: Literal["broken", "unmeasured", "unlike", "overbaked", "copying"]
    words: str

    def __str__(self) -> str:
        return self.words


@dataclass(frozen=True)
class Selection:
    chosen: Candidate
    best: Candidate  # of the highest score; not the chosen one where an earlier one ties with it
    better_than_init: bool
    tied: list[Candidate]  # with the best score, itself included, of all runs
    figures: dict[tuple[str, int], dict[str, Figure]]  # of each measure, and `score`
    vetoes: dict[tuple[str, int], Veto]
    pictures: int  # of each checkpoint
    sure: float | None  # share of the resamplings in which the choice is within NEAR of their best
    seeds: int | None  # that would tell the choice from its rival, or from the init; None: no affordable number would
    unmeasured: list[str] = field(default_factory=list)  # measures of the rule without a value for any candidate


def select(candidates: Sequence[Candidate], rule: Rule, seeds: int, seed: int = 0) -> Selection:
    """`seeds` is how many pictures there are of each prompt, `seed` that of the bootstrap. Needs a candidate."""
    pictures = len(next(iter(candidates[0].measured.values())))
    samples = np.random.default_rng(seed).integers(pictures, size=(SAMPLES, pictures))
    unmeasured = [name for name in RULE if not any(np.isfinite(c.measured[name]).any() for c in candidates)]
    weights = {name: rule.weights[name] for name in RULE if name not in unmeasured}
    plain = np.array([_score(c, weights, None)[0] for c in candidates])
    resampled = np.array([_score(c, weights, samples) for c in candidates])  # (candidates, S)
    figures = {
        c.key: {name: figure(name, values, samples) for name, values in c.measured.items()}
        | {"score": _with_interval(plain[i], resampled[i], pictures)}
        for i, c in enumerate(candidates)
    }
    vetoes = {c.key: veto for c in candidates if (veto := _veto(figures[c.key], rule, pictures))}
    eligible = [i for i, c in enumerate(candidates) if c.key not in vetoes]
    among = eligible or list(range(len(candidates)))
    best = max(among, key=lambda i: plain[i])
    tied = [i for i in among if _ties(plain[best] - plain[i], resampled[best] - resampled[i], pictures)]
    chosen = min(tied, key=lambda i: (candidates[i].step, -plain[i]))
    rivals = [best] if chosen != best else sorted((i for i in tied if i != best), key=lambda i: -plain[i])
    if not eligible:
        likeness = candidates[chosen].measured["likeness"]
        apart = _mean(likeness, None)[0], _mean(likeness, samples)
    elif not rivals:
        apart = 0.0, np.zeros(SAMPLES)
    else:
        apart = plain[chosen] - plain[rivals[0]], resampled[chosen] - resampled[rivals[0]]
    return Selection(
        chosen=candidates[chosen],
        best=candidates[best],
        better_than_init=bool(eligible),
        tied=[candidates[i] for i in tied],
        figures=figures,
        vetoes=vetoes,
        pictures=pictures,
        sure=float((resampled[chosen] >= resampled[among].max(0) - NEAR).mean())
        if pictures >= LEAST_PICTURES else None,
        seeds=_seeds_to_tell(*apart, seeds),
        unmeasured=unmeasured,
    )  # fmt: skip


def figure(measure: str, values: Floats, samples: NDArray[np.int64]) -> Figure:
    """The mean of the pictures that have a value, with its interval over the resamplings (S, P)."""
    present = values[np.isfinite(values)]
    if not len(present):
        return NOTHING
    if measure in SHARES:  # resampled, a share of all or of none has no width
        share = Share.of(round(present.sum()), len(present))
        return Figure(share.value, *((share.low, share.high) if len(present) > 1 else (math.nan, math.nan)))
    return _with_interval(_mean(values, None)[0], _mean(values, samples), len(present))


def _with_interval(value: float, resampled: Floats, pictures: int) -> Figure:
    """Hesterberg 2015, "What Teachers Should Know About the Bootstrap", section 5.3. Resamplings without a value take
    no part."""
    if pictures < 2:
        return Figure(float(value), math.nan, math.nan)
    reach = math.sqrt(pictures / (pictures - 1)) * stdtrit(pictures - 1, 1 - HALF)  # in standard deviations
    if pictures < LEAST_PICTURES:
        low, high = value + np.array([-1, 1]) * reach * np.nanstd(resampled)
    else:
        low, high = np.nanquantile(resampled, (ndtr(-reach), ndtr(reach)))
    return Figure(float(value), float(low), float(high))


def _mean(values: Floats, samples: NDArray[np.int64] | None) -> Floats:
    """(S,), or (1,) of the pictures as they are; of those that have a value, NaN where none has."""
    rows = values[None] if samples is None else values[samples]
    present = np.isfinite(rows)
    number = present.sum(1)
    return np.where(number > 0, np.where(present, rows, 0).sum(1) / np.maximum(number, 1), math.nan)


def _score(candidate: Candidate, weights: Mapping[str, float], samples: NDArray[np.int64] | None) -> Floats:
    """(S,), or (1,). A measure that this candidate alone lacks counts as nothing; where no picture of a resampling has
    one, its mean stands."""
    total = sum(weights.values())
    number = 1 if samples is None else len(samples)
    if total == 0:
        return np.full(number, MIN_SHARE)
    logarithm = np.zeros(number)
    for name, weight in weights.items():
        mean = np.nan_to_num(_mean(candidate.measured[name], None))
        resampled = mean if samples is None else _mean(candidate.measured[name], samples)
        share = np.clip(np.where(np.isfinite(resampled), resampled, mean), MIN_SHARE, 1)
        logarithm += weight / total * np.log(share)
    return np.asarray(np.exp(logarithm))


def _veto(figures: Mapping[str, Figure], rule: Rule, pictures: int) -> Veto | None:
    """Why a checkpoint is out; None where nothing speaks against it. What was not measured never speaks for it."""
    if figures["broken"].value > rule.max_broken:
        return Veto("broken", f"{figures['broken'].value:.0%} of the pictures are of one colour")
    burnt, many = figures["overbaked"], pictures >= LEAST_PICTURES  # a few may be so by chance
    if many and burnt.value > rule.max_overbaking and burnt.low > 0:  # before its likeness, which it may have cost
        return Veto("overbaked", f"overbaked: colours, contrast or texture are {2**burnt.value:.1f} times as strong")
    if not math.isfinite(figures["likeness"].value):
        return Veto("unmeasured", "its likeness could not be measured")
    if figures["likeness"].value <= 0:
        return Veto("unlike", "no more like the pictures than what the start draws")
    if not figures["likeness"].low > 0:
        return Veto("unlike", "cannot be told from what the start draws")
    if many and figures["copying"].value > rule.max_copies:
        return Veto("copying", f"{figures['copying'].value:.0%} of the pictures repeat a training picture")
    return None


def _ties(difference: float, resampled: Floats, pictures: int) -> bool:
    may_be_chance = not _with_interval(difference, resampled, pictures).low > 0
    return may_be_chance and bool(difference <= MAX_TIED_DIFFERENCE)


def _seeds_to_tell(difference: float, resampled: Floats, seeds: int) -> int | None:
    """How many seeds would leave 0 out of the interval, if the difference is what it seems: its error falls with the
    root of the number of pictures."""
    if difference == 0 or not np.isfinite(difference):
        return None
    needed = math.ceil(seeds * (1.96 * float(np.nanstd(resampled)) / abs(difference)) ** 2)
    return needed if seeds < needed <= MAX_SEEDS else None
