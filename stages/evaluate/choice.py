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
LIKENESS, OBEDIENCE, BLANK = "image_similarity", "text_similarity", "blank"  # the measures that decide
MIN_START_OBEDIENCE = 0.05  # a start that is less like its prompts says nothing about what there was to keep
MIN_WAY = 1e-6  # from the start to the ceiling; keeps a start that lies above it from dividing by nothing
MIN_SHARE = 1e-3  # keeps the score of a checkpoint with no likeness apart from that of a vetoed one
MAX_BLANK_SHARE = 0.25  # of the pictures of a checkpoint
BOOTSTRAP_SAMPLES = 1000
MAX_TIED_DIFFERENCE = 0.02  # of score, 0 to 1: with few pictures much larger differences pass for chance
MIN_FLEXIBLE_OBEDIENCE = 0.8  # share of the start's obedience below which the advice speaks of it


@dataclass(frozen=True)
class Candidate:
    """One drawn checkpoint. `measured`: by measure the value of each picture, (P,); NaN where it has none."""

    run: str
    step: int
    measured: dict[str, Floats]

    @property
    def key(self) -> tuple[str, int]:
        return self.run, self.step


@dataclass(frozen=True)
class Selection:
    run: str
    step: int
    reason: str
    advice: list[str]
    tied: list[int]  # steps of the same run that cannot be told from the best score
    scores: dict[tuple[str, int], float]
    vetoes: dict[tuple[str, int], str]


def likeness_of(image: Floats, start: Floats, ceiling: float) -> Floats:
    """Share of the way from the start's similarity to the ceiling, 0 to 1."""
    way = np.maximum(ceiling - start, MIN_WAY)
    return np.clip((image - start) / way, 0, 1)


def obedience_of(text: Floats, start: Floats) -> Floats:
    """Share of the start's similarity to the prompts that is kept, 0 to 1."""
    return np.clip(1 - np.maximum(start - text, 0) / np.maximum(np.abs(start), MIN_START_OBEDIENCE), 0, 1)


def choose(candidates: list[Candidate], ceiling: float, weight: float, seed: int = 0) -> Selection:
    """The earliest checkpoint that is not provably worse than the best one.

    Each run has its step 0 among the candidates. Two checkpoints tie when the 95 % interval of their paired
    difference, over resampled pictures, holds 0, and the difference is negligible too.
    """
    starts = {c.run: c for c in candidates if c.step == 0}
    trained = [c for c in candidates if c.step > 0]
    pictures = len(trained[0].measured[LIKENESS])
    resampled = np.random.default_rng(seed).integers(pictures, size=(BOOTSTRAP_SAMPLES, pictures))
    plain = np.array([_score(c, starts[c.run], ceiling, weight, None) for c in trained])[:, 0]
    bootstrap = np.array([_score(c, starts[c.run], ceiling, weight, resampled) for c in trained])  # (C, samples)
    vetoes = {c.key: veto for c in trained if (veto := _veto(c, starts[c.run]))}
    eligible = [i for i, c in enumerate(trained) if c.key not in vetoes] or list(range(len(trained)))
    best = max(eligible, key=lambda i: plain[i])
    tied = [
        i
        for i in eligible
        if np.quantile(bootstrap[best] - bootstrap[i], 0.025) <= 0 and plain[best] - plain[i] <= MAX_TIED_DIFFERENCE
    ]
    chosen = min(tied, key=lambda i: (trained[i].step, -plain[i]))
    return Selection(
        run=trained[chosen].run,
        step=trained[chosen].step,
        reason=_reason(trained, starts, chosen, best, len(tied), ceiling, vetoes),
        advice=_advice(trained, starts, chosen, ceiling, vetoes),
        tied=[trained[i].step for i in tied if trained[i].run == trained[chosen].run],
        scores={c.key: float(score) for c, score in zip(trained, plain, strict=True)},
        vetoes=vetoes,
    )


def _score(
    candidate: Candidate, start: Candidate, ceiling: float, weight: float, resampled: NDArray[np.int64] | None
) -> Floats:
    """(samples,) over resampled pictures, or (1,) over the pictures as they are."""
    likeness, obedience = _shares(candidate, start, ceiling, resampled)
    return np.asarray(np.maximum(likeness, MIN_SHARE) ** weight * np.maximum(obedience, MIN_SHARE) ** (1 - weight))


def _shares(
    candidate: Candidate, start: Candidate, ceiling: float, resampled: NDArray[np.int64] | None
) -> tuple[Floats, Floats]:
    """Likeness and obedience of each resampling, or of the pictures as they are."""
    image, image_start = (_mean(c.measured[LIKENESS], resampled) for c in (candidate, start))
    text, text_start = (_mean(c.measured[OBEDIENCE], resampled) for c in (candidate, start))
    return likeness_of(image, image_start, ceiling), obedience_of(text, text_start)


def _mean(values: Floats, resampled: NDArray[np.int64] | None) -> Floats:
    """Mean over the pictures that have a value; 0 where none has (no prompt says anything besides the word)."""
    rows = values[None] if resampled is None else values[resampled]
    present = np.isfinite(rows)
    return np.asarray(np.where(present, rows, 0).sum(1) / np.maximum(present.sum(1), 1))


def _veto(candidate: Candidate, start: Candidate) -> str:
    blank = candidate.measured[BLANK].mean()
    if blank > MAX_BLANK_SHARE:
        return f"{blank:.0%} of the pictures are blank"
    if candidate.measured[LIKENESS].mean() <= start.measured[LIKENESS].mean():
        return "no more like the pictures than the start"
    return ""


def _plain_shares(candidate: Candidate, start: Candidate, ceiling: float) -> tuple[float, float]:
    likeness, obedience = _shares(candidate, start, ceiling, None)
    return float(likeness[0]), float(obedience[0])


def _reason(
    trained: list[Candidate], starts: dict[str, Candidate], chosen: int, best: int, tied: int, ceiling: float,
    vetoes: dict[tuple[str, int], str],
) -> str:  # fmt: skip
    winner, start = trained[chosen], starts[trained[chosen].run]
    likeness, obedience = _plain_shares(winner, start, ceiling)
    several = len(starts) > 1
    text = (
        f"Step {winner.step}{f' of run {winner.run}' if several else ''}: likeness to the pictures "
        f"{winner.measured[LIKENESS].mean():.3f}, {likeness:.0%} of the way from the start "
        f"({start.measured[LIKENESS].mean():.3f}) to the pictures among themselves ({ceiling:.3f}); {obedience:.0%} of "
        "the start's obedience to the prompts is kept."
    )
    if chosen != best:
        rival = trained[best]
        where = f"step {rival.step}{f' of run {rival.run}' if several else ''}"
        text += f" It is the earliest of {tied} that cannot be told from the best score ({where})."
    later = [c for c in trained if c.run == winner.run and c.step > winner.step]
    if later:
        last = max(later, key=lambda c: c.step)
        last_likeness, last_obedience = _plain_shares(last, start, ceiling)
        gain, loss = last_likeness - likeness, -(obedience - last_obedience)
        text += f" Going on to step {last.step} changes likeness by {gain:+.0%} and obedience by {loss:+.0%}."
    if vetoes:
        text += f" Vetoed: {len(vetoes)} of {len(trained)}."
    return text


def _advice(
    trained: list[Candidate], starts: dict[str, Candidate], chosen: int, ceiling: float,
    vetoes: dict[tuple[str, int], str],
) -> list[str]:  # fmt: skip
    winner = trained[chosen]
    advice = []
    if len(vetoes) == len(trained):
        advice.append(
            "No checkpoint is better than the start. Look at the captions (do they name what the word should learn?) "
            "and at word.init_text; try a higher train.learn_rate."
        )
    elif winner.step == max(c.step for c in trained if c.run == winner.run):
        advice.append("The last checkpoint is the best one: more train.steps may bring more.")
    if _plain_shares(winner, starts[winner.run], ceiling)[1] < MIN_FLEXIBLE_OBEDIENCE:
        advice.append("The word drowns its prompts: fewer word.vectors or a lower train.learn_rate keep it flexible.")
    return advice
