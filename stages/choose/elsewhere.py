"""How far the chosen checkpoint carries: its figures on other base models and beside other words.

"Home" is the base model that it was learned on, with nothing beside it.
"""

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from pseudoword.records import Carried, Estimate, JudgesRecord
from pseudoword.results.scale import on_one_scale
from stages.choose.selection import RULE, SAMPLES, Candidate, Figure, figure
from stages.choose.words import percent

COMPARED = ("likeness", "obedience")


def carried(home: pd.DataFrame, elsewhere: pd.DataFrame, judges: JudgesRecord, chosen: Candidate) -> Iterator[Carried]:
    """The chosen checkpoint's figures in each of the surroundings, and what it gains there, paired by prompt and seed.

    home       rows of the measured table, on one scale
    elsewhere  the other rows, as they were measured
    """
    at_home = _of(home, chosen)
    for label, rows in elsewhere.groupby("elsewhere", sort=False):
        there = _of(on_one_scale(rows, judges), chosen)
        samples = np.random.default_rng(0).integers(len(there), size=(SAMPLES, len(there)))
        figures = {name: figure(name, there[name].to_numpy(float), samples) for name in RULE}
        gains = {
            name: figure(name, (there[name] - at_home[name].reindex(there.index)).to_numpy(float), samples)
            for name in COMPARED
        }
        yield Carried(
            elsewhere=str(label),
            figures={name: _estimate(value) for name, value in figures.items()},
            gains={name: _estimate(value) for name, value in gains.items()},
            sentence=_sentence(str(label), figures, gains),
        )


def _of(rows: pd.DataFrame, chosen: Candidate) -> pd.DataFrame:
    """The checkpoint's pictures, by prompt and seed."""
    own = rows[(rows["run"] == chosen.run) & (rows["step"] == chosen.step) & (rows["control"] == "")]
    return own.set_index(["prompt", "seed"])


def _estimate(value: Figure) -> Estimate | None:
    return None if math.isnan(value.low) else Estimate(value=value.value, low=value.low, high=value.high)


def _sentence(label: str, figures: Mapping[str, Figure], gains: Mapping[str, Figure]) -> str:
    """The figures there, and whether they can be told from those at home."""
    shown = ", ".join(f"{name} {percent(figures[name])}" for name in COMPARED)
    changes = [
        f"{abs(gain.value):.0%} {'more' if gain.value > 0 else 'less'} {name}"
        for name, gain in gains.items()
        if gain.low > 0 or gain.high < 0
    ]
    if changes:
        compared = f"that is {' and '.join(changes)} than otherwise"
    elif any(math.isfinite(gain.value) for gain in gains.values()):
        compared = "not to be told from what it does otherwise"
    else:
        compared = "which could not be held against what it does otherwise"
    return f"{label[:1].upper()}{label[1:]}: {shown}; {compared}."
