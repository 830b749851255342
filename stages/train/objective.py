"""How wrong a prediction is: squared or Huber error, weighed by the picture's map and by its noise level.

Letters in shapes: n rows, C channels, h w of a latent, R runs, V rows of parameters of all runs, D numbers of a row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pseudoword.base.interface import Base
from pseudoword.latents import Latents
from stages.train.samples import Rows
from stages.train.trainee import Trainee


@dataclass(frozen=True)
class Objective:
    """The loss of one run."""

    deterministic: bool = False  # take the latents' mean instead of drawing
    min_snr_gamma: float | None = None
    huber_delta: float | None = None  # None: squared error


class Losses:
    """The loss of rows, differentiable in the parameters; everything it needs lies on the device."""

    def __init__(
        self, base: Base, trainee: Trainee, latents: Latents, runs: Sequence[Objective], dtype: torch.dtype
    ) -> None:
        def of_runs(values: list[float]) -> Tensor:
            return torch.tensor(values, device=base.device, dtype=dtype)

        self.base, self.trainee, self.dtype = base, trainee, dtype
        self.mean = [group.mean.to(base.device, dtype) for group in latents.groups]
        self.std = [group.std.to(base.device, dtype) for group in latents.groups]
        self.weight = [group.weight.to(base.device, dtype) for group in latents.groups]
        self.drawn = of_runs([not run.deterministic for run in runs])
        self.gamma = of_runs([run.min_snr_gamma or torch.inf for run in runs])
        self.delta = of_runs([run.huber_delta or torch.inf for run in runs])
        self.any_huber = any(run.huber_delta for run in runs)

    def __call__(self, parameters: Tensor, rows: Rows) -> Tensor:
        """(n,) from parameters (V, D)."""
        place, group = rows.place, rows.group
        drawn = self.drawn[rows.run].view(-1, 1, 1, 1)
        clean = self.mean[group][place] + drawn * self.std[group][place] * rows.posterior.to(self.dtype)
        conditioning = self.trainee.condition(parameters, rows.ids, rows.runs.tolist(), rows.key)
        residual = self.base.residual(clean, rows.noise.to(self.dtype), rows.t, conditioning)
        error = residual.square()
        if self.any_huber:
            error = _huber(residual, error, self.delta[rows.run].view(-1, 1, 1, 1))
        return (error * self.weight[group][place]).mean((1, 2, 3)) * self._by_noise_level(rows)

    def _by_noise_level(self, rows: Rows) -> Tensor:
        """(n,), min(SNR, gamma) / SNR, for v-prediction / (SNR + 1) (Hang et al. 2023, sections 3.4 and B); else 1."""
        alpha_bar, gamma = self.base.alpha_bar[rows.t], self.gamma[rows.run]
        snr = alpha_bar / (1 - alpha_bar).clamp(min=1e-12)
        one_more = 1 if self.base.prediction_type == "v_prediction" else 0
        # At zero terminal SNR the ratio is 0/0; its limit for epsilon is 1.
        weight = torch.where(snr > 0, torch.minimum(snr, gamma), 1 - one_more) / (snr + one_more).where(snr > 0, 1)
        return weight.to(self.dtype).where(gamma.isfinite(), 1)


def _huber(residual: Tensor, square: Tensor, delta: Tensor) -> Tensor:
    """Squared error up to |residual| = delta, from there 2 delta |residual| - delta^2 (Huber 1964, times 2)."""
    size = residual.abs()
    bounded = delta.where(delta.isfinite(), 0)  # inf x 0 would be NaN in the branch that is not taken
    return square.where(size <= delta, 2 * bounded * size - bounded.square())
