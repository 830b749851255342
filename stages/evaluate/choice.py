"""Which checkpoint is the best, and why in words. Pure arithmetic on tables of scores.

Letters in shapes: C drawn checkpoints, P pictures of each, the same prompts and noise for all.

likeness   how far a checkpoint has come from the start (0) to the likeness of the training pictures among themselves
           (1); more than that is copying and earns nothing
obedience  share of the start's likeness to the prompts that is kept; the untrained word disturbs a prompt least
score      likeness^w x obedience^(1 - w)

Loss never chooses: on few pictures it ranks checkpoints wrongly as often as not.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
WEAK = 0.05  # a start that is less like its prompts than this says nothing about what there was to keep
DRAWS = 1000  # bootstrap samples
NEGLIGIBLE = 0.02  # of score, 0 to 1: with few pictures much larger differences pass for chance
LEAST = 1e-3  # keeps the score of a checkpoint with no likeness apart from that of a vetoed one


@dataclass(frozen=True)
class Candidate:
    """One drawn checkpoint. `image`, `text`: similarity of each picture, (P,); NaN where a prompt says nothing."""

    run: str
    step: int
    image: Floats
    text: Floats
    blank: float  # share of pictures of one colour


@dataclass(frozen=True)
class Choice:
    run: str
    step: int
    reason: str
    advice: list[str]
    tied: list[int]  # steps of the same run that cannot be told from the best score
    scores: dict[tuple[str, int], float]
    vetoes: dict[tuple[str, int], str]


def likeness_of(image: Floats, start: Floats, ceiling: float) -> Floats:
    """Share of the way from the start's similarity to the ceiling, 0 to 1."""
    way = np.maximum(ceiling - start, 1e-6)
    return np.clip((image - start) / way, 0, 1)


def obedience_of(text: Floats, start: Floats) -> Floats:
    """Share of the start's similarity to the prompts that is kept, 0 to 1."""
    return np.clip(1 - np.maximum(start - text, 0) / np.maximum(np.abs(start), WEAK), 0, 1)


def choose(candidates: list[Candidate], ceiling: float, weight: float, seed: int = 0) -> Choice:
    """The earliest checkpoint that is not provably worse than the best one.

    Each run has its step 0 among the candidates. Two checkpoints tie when the 95 % interval of their paired
    difference, over resampled pictures, holds 0, and the difference is negligible too.
    """
    starts = {c.run: c for c in candidates if c.step == 0}
    trained = [c for c in candidates if c.step > 0]
    resampled = np.random.default_rng(seed).integers(len(trained[0].image), size=(DRAWS, len(trained[0].image)))
    plain = np.array([_score(c, starts[c.run], ceiling, weight, None) for c in trained])[:, 0]
    drawn = np.array([_score(c, starts[c.run], ceiling, weight, resampled) for c in trained])  # (C, DRAWS)
    vetoes = {(c.run, c.step): veto for c in trained if (veto := _veto(c, starts[c.run]))}
    open_to = [at for at, c in enumerate(trained) if (c.run, c.step) not in vetoes] or list(range(len(trained)))
    best = max(open_to, key=lambda at: plain[at])
    tied = [
        at
        for at in open_to
        if np.quantile(drawn[best] - drawn[at], 0.025) <= 0 and plain[best] - plain[at] <= NEGLIGIBLE
    ]
    chosen = min(tied, key=lambda at: (trained[at].step, -plain[at]))
    return Choice(
        run=trained[chosen].run,
        step=trained[chosen].step,
        reason=_reason(trained, starts, chosen, best, len(tied), ceiling, vetoes),
        advice=_advice(trained, starts, chosen, ceiling, vetoes),
        tied=[trained[at].step for at in tied if trained[at].run == trained[chosen].run],
        scores={(c.run, c.step): float(score) for c, score in zip(trained, plain, strict=True)},
        vetoes=vetoes,
    )


def _score(
    candidate: Candidate, start: Candidate, ceiling: float, weight: float, resampled: NDArray[np.int64] | None
) -> Floats:
    """(DRAWS,) over resampled pictures, or (1,) over the pictures as they are."""
    image, image_start = _mean(candidate.image, resampled), _mean(start.image, resampled)
    text, text_start = _mean(candidate.text, resampled), _mean(start.text, resampled)
    likeness = np.maximum(likeness_of(image, image_start, ceiling), LEAST)
    obedience = np.maximum(obedience_of(text, text_start), LEAST)
    return np.asarray(likeness**weight * obedience ** (1 - weight))


def _mean(values: Floats, resampled: NDArray[np.int64] | None) -> Floats:
    """Mean over the pictures that have a value; 0 where none has (no prompt says anything besides the word)."""
    rows = values[None] if resampled is None else values[resampled]
    present = np.isfinite(rows)
    return np.asarray(np.where(present, rows, 0).sum(1) / np.maximum(present.sum(1), 1))


def _veto(candidate: Candidate, start: Candidate) -> str:
    if candidate.blank > 0.25:
        return f"{candidate.blank:.0%} of the pictures are blank"
    if candidate.image.mean() <= start.image.mean():
        return "no more like the pictures than the start"
    return ""


def _shares(candidate: Candidate, start: Candidate, ceiling: float) -> tuple[float, float]:
    likeness = likeness_of(_mean(candidate.image, None), _mean(start.image, None), ceiling)
    obedience = obedience_of(_mean(candidate.text, None), _mean(start.text, None))
    return float(likeness[0]), float(obedience[0])


def _reason(
    trained: list[Candidate], starts: dict[str, Candidate], chosen: int, best: int, tied: int, ceiling: float,
    vetoes: dict[tuple[str, int], str],
) -> str:  # fmt: skip
    own, start = trained[chosen], starts[trained[chosen].run]
    likeness, obedience = _shares(own, start, ceiling)
    several = len(starts) > 1
    text = (
        f"Step {own.step}{f' of run {own.run}' if several else ''}: likeness to the pictures {own.image.mean():.3f}, "
        f"{likeness:.0%} of the way from the start ({start.image.mean():.3f}) to the pictures among themselves "
        f"({ceiling:.3f}); {obedience:.0%} of the start's obedience to the prompts is kept."
    )
    if chosen != best:
        rival = trained[best]
        where = f"step {rival.step}{f' of run {rival.run}' if several else ''}"
        text += f" It is the earliest of {tied} that cannot be told from the best score ({where})."
    later = [c for c in trained if c.run == own.run and c.step > own.step]
    if later:
        last = max(later, key=lambda c: c.step)
        gain = _shares(last, start, ceiling)[0] - likeness
        lost = obedience - _shares(last, start, ceiling)[1]
        text += f" Going on to step {last.step} changes likeness by {gain:+.0%} and obedience by {-lost:+.0%}."
    if vetoes:
        text += f" Vetoed: {len(vetoes)} of {len(trained)}."
    return text


def _advice(
    trained: list[Candidate], starts: dict[str, Candidate], chosen: int, ceiling: float,
    vetoes: dict[tuple[str, int], str],
) -> list[str]:  # fmt: skip
    own = trained[chosen]
    advice = []
    if len(vetoes) == len(trained):
        advice.append(
            "No checkpoint is better than the start. Look at the captions (do they name what the word should learn?) "
            "and at word.init_text; try a higher train.learn_rate."
        )
    elif own.step == max(c.step for c in trained if c.run == own.run):
        advice.append("The last checkpoint is the best one: more train.steps may bring more.")
    if _shares(own, starts[own.run], ceiling)[1] < 0.8:
        advice.append("The word drowns its prompts: fewer word.vectors or a lower train.learn_rate keep it flexible.")
    return advice
