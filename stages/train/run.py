"""The settings of one run of a pack, ready for the training loop."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stages.train.objective import Objective
from stages.train.optimizer import OptimizerSettings
from stages.train.samples import Sampling


@dataclass(frozen=True)
class StopRule:
    """When a run may end early: numbers of steps, and `threshold`, a share of variance."""

    every: int
    window: int
    threshold: float
    floor: int


@dataclass(frozen=True)
class Run:
    """One of the runs of a pack. It ends with `optimizer.rates`."""

    name: str
    sampling: Sampling
    objective: Objective
    optimizer: OptimizerSettings
    plain_ids: Callable[[int], NDArray[np.int64]]  # of a picture, (E, W, L), what every evaluation sees
    stop_rule: StopRule | None = None

    @property
    def steps(self) -> int:
        return len(self.optimizer.rates)
