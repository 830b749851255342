"""One step of the parameters of all runs as one tensor, each row by its own run's settings, without a host sync.

Letters in shapes: R runs, V rows of all runs, D numbers of a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.train.state import State
from stages.train.trainee import Step, Trainee

FIRST_SCALE_FP16 = 65536.0
GROWS_AFTER = 2000  # good steps


@dataclass(frozen=True)
class OptimizerSettings:
    """How the parameters of a run are updated. `rates` and `clip_at` have a value for each step."""

    rates: list[float]
    clip_at: list[float]
    clip: str = "none"  # none | value | norm
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    average: float = 0.0


class Optimizer:
    """AdamW (Loshchilov and Hutter 2019, algorithm 2) for each run as its settings say, within what the trainee allows.

    A gradient that is not finite moves nothing. It halves the loss scale of its run; where that is 1 already, so that
    no half precision can be to blame, the run has failed and stands still from then on.
    """

    def __init__(
        self, runs: Sequence[OptimizerSettings], trainee: Trainee, steps: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        """`steps`: of the longest run."""

        def of_rows(values: Sequence[object]) -> Tensor:
            """(R, ...) -> (V, ...)."""
            return torch.tensor(values, device=device, dtype=dtype)[self.owner]

        self.trainee = trainee
        self.owner = torch.tensor(trainee.owner, device=device)
        self.runs = len(runs)
        self.siblings = torch.bincount(self.owner, minlength=self.runs)
        self.rates = of_rows([run.rates + [0.0] * (steps - len(run.rates)) for run in runs]).T.unsqueeze(-1)
        limits = of_rows([run.clip_at + [0.0] * (steps - len(run.clip_at)) for run in runs])
        self.by_value = self._limits(limits, [run.clip == "value" for run in runs])
        self.by_norm = self._limits(limits, [run.clip == "norm" for run in runs])
        self.clips_value = any(run.clip == "value" for run in runs)
        self.decay = of_rows([run.weight_decay for run in runs]).unsqueeze(-1)
        self.first_decay = of_rows([run.betas[0] for run in runs]).unsqueeze(-1)
        self.second_decay = of_rows([run.betas[1] for run in runs]).unsqueeze(-1)
        self.eps = of_rows([run.eps for run in runs]).unsqueeze(-1)
        self.average = torch.tensor([run.average for run in runs], device=device, dtype=dtype)

    def shown(self, state: State) -> Tensor:
        """The parameters (V, D) that a checkpoint holds: of a run with an average that one, constrained."""
        averaged = (self.average > 0)[self.owner].unsqueeze(-1)
        return self.trainee.constrain(state.average).where(averaged, state.parameters)

    def step(self, state: State, gradient: Tensor, step: int) -> Tensor:
        """Update `state` in place; returns the norm of each run's gradient, (R,), before clipping.

        gradient  (V, D), of the losses times each run's `state.scale`
        step      from 0
        """
        gradient = gradient / state.scale[self.owner].unsqueeze(-1)
        norms = self._of_runs(gradient.square().sum(-1)).sqrt()
        # An overflowing square also counts as not finite.
        good = self._good_runs(state, ~norms.isfinite(), step)
        moves = good[self.owner].unsqueeze(-1)
        gradient = gradient.where(moves, 0)
        norms = norms.where(good, 0)
        gradient = self._clipped(gradient, norms, step)
        rate = self.rates[step]
        count = (state.count + good)[self.owner].unsqueeze(-1)
        first = torch.lerp(gradient, state.first, self.first_decay)
        second = torch.lerp(gradient.square(), state.second, self.second_decay)
        mean = first / (1 - self.first_decay**count)
        spread = (second / (1 - self.second_decay**count)).sqrt()
        proposed = state.parameters * (1 - rate * self.decay) - rate * mean / (spread + self.eps)
        moved = self.trainee.constrain(proposed, Step(state.parameters, gradient, rate))
        wild = self._of_runs((~moved.isfinite()).any(-1).float()) > 0
        state.failed.copy_(torch.where(wild & good, step, state.failed))
        good = good & ~wild & (state.stopped < 0)
        moves = good[self.owner].unsqueeze(-1) & (rate > 0)
        state.first.copy_(first.where(moves, state.first))
        state.second.copy_(second.where(moves, state.second))
        state.parameters.copy_(moved.where(moves, state.parameters))
        # At the start the average would be the start itself for as long as its memory reaches.
        memory = torch.minimum(self.average, (1 + state.count) / (10 + state.count))[self.owner].unsqueeze(-1)
        state.average.copy_(torch.lerp(state.parameters, state.average, memory).where(moves, state.average))
        state.count.add_(good)
        return norms

    def _good_runs(self, state: State, broken: Tensor, step: int) -> Tensor:
        """(R,) bool: whose gradient is not `broken`, of those that go on. Keeps scale and failure up to date."""
        alive = state.failed < 0
        fails = broken & alive & (state.scale <= 1)
        state.failed.copy_(torch.where(fails, step, state.failed))
        good = alive & ~broken
        state.good.copy_(torch.where(broken, 0, state.good + good))
        grown = (state.good >= GROWS_AFTER) & (state.scale > 1)
        state.good.copy_(torch.where(grown, 0, state.good))
        state.scale.copy_(
            torch.where(broken, state.scale / 2, torch.where(grown, state.scale * 2, state.scale)).clamp(min=1)
        )
        return good

    def _clipped(self, gradient: Tensor, norms: Tensor, step: int) -> Tensor:
        if self.clips_value:
            limit = self.by_value[step]
            gradient = gradient.clamp(-limit, limit)
        largest = self.by_norm[step]
        return gradient * (largest / norms[self.owner].unsqueeze(-1).clamp(min=1e-30)).clamp(max=1)

    def _of_runs(self, values: Tensor) -> Tensor:
        """(V,) summed over the rows of each run, (R,)."""
        return torch.zeros(self.runs, device=values.device, dtype=values.dtype).index_add_(0, self.owner, values)

    def norms_of(self, parameters: Tensor) -> Tensor:
        """Mean norm of each run's rows, (R,)."""
        return self._of_runs(parameters.norm(dim=-1)) / self.siblings

    def _limits(self, values: Tensor, used: list[bool]) -> Tensor:
        """(V, steps) -> (steps, V, 1), without limit where it is not used."""
        rows = torch.tensor(used, device=values.device)[self.owner].unsqueeze(-1)
        return values.where(rows, torch.inf).T.unsqueeze(-1)
