"""One update of the vectors of all runs as one tensor, each row by its own run's settings, without a host sync.

Letters in shapes: R runs, V vectors of all runs, D width (the encoders' widths side by side).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stages.train.state import State

FIRST_SCALE_FP16 = 65536.0
GROWS_AFTER = 2000  # good updates


@dataclass(frozen=True)
class Update:
    """How the vectors of a run are updated. `rates` and `clip_at` have a value for each update."""

    rates: list[float]
    clip_at: list[float]
    clip: str = "none"  # none | value | norm
    norm: str = "free"  # free | rescale | direction
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    pull: float = 0.0
    average: float = 0.0


class Optimizer:
    """AdamW (Loshchilov and Hutter 2019, algorithm 2) or, for `direction`, a step on the sphere (Kim et al. 2026,
    "Directional Textual Inversion"), for each run as its settings say.

    A gradient that is not finite moves nothing. It halves the loss scale of its run; where that is 1 already, so that
    no half precision can be to blame, the run has failed and stands still from then on.
    """

    def __init__(
        self, runs: Sequence[Update], vectors: Sequence[Tensor], widths: Sequence[int], norms: Sequence[Tensor],
        steps: int, device: torch.device, dtype: torch.dtype,
    ) -> None:  # fmt: skip
        """vectors: where each run starts, (K, D). norms: at which each run holds them if it does, (K, encoders).
        steps: of the longest run."""

        def of_rows(values: Sequence[object]) -> Tensor:
            """(R, ...) -> (V, ...)."""
            return torch.tensor(values, device=device, dtype=dtype)[self.owner]

        self.owner = torch.tensor([run for run, rows in enumerate(vectors) for _ in rows], device=device)
        self.runs, self.widths = len(runs), list(widths)
        self.norms = torch.cat([rows.to(device, dtype) for rows in norms]).split(1, dim=1)
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
        self.pull = of_rows([run.pull for run in runs]).unsqueeze(-1)
        self.held = of_rows([run.norm != "free" for run in runs]).unsqueeze(-1).bool()
        self.on_sphere = of_rows([run.norm == "direction" for run in runs]).unsqueeze(-1).bool()
        self.any_on_sphere = any(run.norm == "direction" for run in runs)
        self.origin = self._directions(torch.cat([rows.to(device, dtype) for rows in vectors]))

    def start(self, vectors: Tensor) -> Tensor:
        """(V, D) with the norms that the runs hold."""
        return self._at_norm(vectors)

    def shown(self, state: State) -> Tensor:
        """(V, D), what a checkpoint holds: the average, at the norm that the run holds, which a mean falls short of."""
        averaged = (self.average > 0)[self.owner].unsqueeze(-1)
        return self._at_norm(state.average).where(averaged, state.vectors)

    def step(self, state: State, gradient: Tensor, update: int) -> Tensor:
        """Update `state` in place; returns the norm of each run's gradient, (R,), before clipping.

        gradient  (V, D), of the losses times each run's `state.scale`
        update    from 0
        """
        gradient = gradient / state.scale[self.owner].unsqueeze(-1)
        sizes = self._of_runs(gradient.square().sum(-1)).sqrt()
        # Not finite as well where a square overflows.
        good = self._good_runs(state, ~sizes.isfinite(), update)
        moves = good[self.owner].unsqueeze(-1)
        gradient = gradient.where(moves, 0)
        sizes = sizes.where(good, 0)
        gradient = self._clipped(gradient, sizes, update)
        rate = self.rates[update]
        count = (state.count + good)[self.owner].unsqueeze(-1)
        first = torch.lerp(gradient, state.first, self.first_decay)
        second = torch.lerp(gradient.square(), state.second, self.second_decay)
        mean = first / (1 - self.first_decay**count)
        spread = (second / (1 - self.second_decay**count)).sqrt()
        moved = self._at_norm(state.vectors * (1 - rate * self.decay) - rate * mean / (spread + self.eps))
        if self.any_on_sphere:
            moved = self._along_sphere(state.vectors, gradient, rate).where(self.on_sphere, moved)
        wild = self._of_runs((~moved.isfinite()).any(-1).float()) > 0
        state.failed.copy_(torch.where(wild & good, update, state.failed))
        good = good & ~wild & (state.stopped < 0)
        moves = good[self.owner].unsqueeze(-1) & (rate > 0)
        state.first.copy_(first.where(moves, state.first))
        state.second.copy_(second.where(moves, state.second))
        state.vectors.copy_(moved.where(moves, state.vectors))
        # At the start the average would be the start itself for as long as its memory reaches.
        memory = torch.minimum(self.average, (1 + state.count) / (10 + state.count))[self.owner].unsqueeze(-1)
        state.average.copy_(torch.lerp(state.vectors, state.average, memory).where(moves, state.average))
        state.count.add_(good)
        return sizes

    def _good_runs(self, state: State, broken: Tensor, update: int) -> Tensor:
        """(R,) bool: whose gradient is not `broken`, of those that go on. Keeps scale and failure up to date."""
        alive = state.failed < 0
        fails = broken & alive & (state.scale <= 1)
        state.failed.copy_(torch.where(fails, update, state.failed))
        good = alive & ~broken
        state.good.copy_(torch.where(broken, 0, state.good + good))
        grown = (state.good >= GROWS_AFTER) & (state.scale > 1)
        state.good.copy_(torch.where(grown, 0, state.good))
        state.scale.copy_(
            torch.where(broken, state.scale / 2, torch.where(grown, state.scale * 2, state.scale)).clamp(min=1)
        )
        return good

    def _clipped(self, gradient: Tensor, sizes: Tensor, update: int) -> Tensor:
        if self.clips_value:
            limit = self.by_value[update]
            gradient = gradient.clamp(-limit, limit)
        largest = self.by_norm[update]
        return gradient * (largest / sizes[self.owner].unsqueeze(-1).clamp(min=1e-30)).clamp(max=1)

    def _along_sphere(self, vectors: Tensor, gradient: Tensor, rate: Tensor) -> Tensor:
        """One step of Riemannian gradient descent on each vector's direction, and a pull to where it started (DTI).

        Only the tangent part of the gradient counts, at length 1; the pull is the gradient of a von Mises-Fisher prior.
        """
        moved = []
        parts = zip(*(self._split(tensor) for tensor in (vectors, gradient, self.origin)), self.norms, strict=True)
        for own, towards, origin, norm in parts:
            size = own.norm(dim=-1, keepdim=True)
            unit = own / size.clamp(min=1e-12)
            slope = towards * norm - self.pull * origin
            tangent = slope - (slope * unit).sum(-1, keepdim=True) * unit
            step = unit - rate * tangent / tangent.norm(dim=-1, keepdim=True).clamp(min=1e-30)
            moved.append(step / step.norm(dim=-1, keepdim=True) * norm)
        return torch.cat(moved, dim=1)

    def _at_norm(self, vectors: Tensor) -> Tensor:
        """AdamW inflates the norm without any gain in loss, and a vector far above the vocabulary's norm drowns
        position and context in the encoder. A zero vector stays where it is."""
        scaled = []
        for own, norm in zip(self._split(vectors), self.norms, strict=True):
            size = own.norm(dim=-1, keepdim=True)
            scaled.append(own * torch.where(size > 0, norm / size.clamp(min=1e-12), 1.0))
        return torch.cat(scaled, dim=1).where(self.held, vectors)

    def _directions(self, vectors: Tensor) -> Tensor:
        parts = [own / own.norm(dim=-1, keepdim=True).clamp(min=1e-12) for own in self._split(vectors)]
        return torch.cat(parts, dim=1)

    def _split(self, vectors: Tensor) -> list[Tensor]:
        return list(vectors.split(self.widths, dim=1))

    def _of_runs(self, values: Tensor) -> Tensor:
        """(V,) summed over the vectors of each run, (R,)."""
        return torch.zeros(self.runs, device=values.device, dtype=values.dtype).index_add_(0, self.owner, values)

    def norms_of(self, vectors: Tensor) -> Tensor:
        """Mean norm of each run's vectors, (R,)."""
        return self._of_runs(vectors.norm(dim=-1)) / self.siblings

    def _limits(self, values: Tensor, used: list[bool]) -> Tensor:
        """(V, steps) -> (steps, V, 1), without limit where it is not used."""
        rows = torch.tensor(used, device=values.device)[self.owner].unsqueeze(-1)
        return values.where(rows, torch.inf).T.unsqueeze(-1)
