"""When a run has learned what it will learn: the deterministic loss has levelled out (DVAR, Voronov et al. 2023)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_VALUES = 4  # in a window; fewer have no variance to speak of


@dataclass(frozen=True)
class Stopping:
    """When a run may end early: numbers of steps, and `threshold`, a share of variance."""

    every: int
    window: int
    threshold: float
    floor: int


def levelled_out(losses: NDArray[np.float64], step: int, rule: Stopping) -> bool:
    """Whether a run may end after `step`.

    losses  one for every `rule.every` steps so far. The run may end when their variance over the last `rule.window`
            steps is below `rule.threshold` of that over all.
    """
    recent = losses[-max(MIN_VALUES, rule.window // rule.every) :]
    if step < rule.floor or len(losses) <= len(recent):
        return False
    return bool(recent.var() < rule.threshold * losses.var())
