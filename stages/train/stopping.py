"""When a run has learned what it will learn: the deterministic loss has levelled out (DVAR, Voronov et al. 2023)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST = 4  # values in a window, fewer have no variance to speak of


@dataclass(frozen=True)
class Stopping:
    """Updates; `threshold` is a share of variance."""

    every: int
    window: int
    threshold: float
    floor: int


def levelled_out(losses: NDArray[np.float64], update: int, rule: Stopping) -> bool:
    """Whether a run may end after `update`.

    losses  one for every `rule.every` updates so far. The run may end when their variance over the last `rule.window`
            updates is below `rule.threshold` of that over all.
    """
    recent = losses[-max(LEAST, rule.window // rule.every) :]
    if update < rule.floor or len(losses) <= len(recent):
        return False
    return bool(recent.var() < rule.threshold * losses.var())
