"""When a run has learned what it will learn: its deterministic loss has levelled out (DVAR, Voronov et al. 2023)."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudoword.base.interface import Base, Conditioning
from pseudoword.deterministic_loss import DeterministicLoss
from pseudoword.latents import Latents
from stages.train.run import Run, StopRule
from stages.train.trainee import Trainee

MIN_VALUES = 4  # in a window; fewer have no variance to speak of
PICTURES, NOISE_LEVELS = 8, 4  # of the deterministic loss


class EarlyStop:
    """Measures the deterministic loss of a pack's runs as they learn, and tells which of them may end."""

    def __init__(self, base: Base, trainee: Trainee, runs: Sequence[Run], latents: Latents) -> None:
        self.trainee = trainee
        self.rules = [run.stop_rule for run in runs]
        self.intervals = {rule.every for rule in self.rules if rule}
        if self.intervals:
            pictures = range(min(PICTURES, len(latents.ids)))
            self.deterministic_loss = DeterministicLoss(base, latents, NOISE_LEVELS, pictures)
            # Of each run, (N, E, W, L): the prompts of all pictures.
            prompts = [np.stack([run.plain_ids(picture) for picture in range(len(latents.ids))]) for run in runs]
            self.ids = [torch.from_numpy(ids).to(trainee.reads_prompts_on) for ids in prompts]

    def looks_after(self, step: int) -> bool:
        return any(step % every == 0 for every in self.intervals)

    def losses(self, parameters: Tensor, rows: int) -> Tensor:
        """The deterministic loss of each run, (R,), at most `rows` at once through the UNet."""

        def loss_of(run: int, ids: Tensor) -> Tensor:
            def condition(pictures: Tensor) -> Conditioning:
                return self.trainee.condition(parameters, ids[pictures.to(ids.device)], [run] * len(pictures))

            return self.deterministic_loss(condition, rows)

        return torch.stack([loss_of(run, ids) for run, ids in enumerate(self.ids)])

    def levelled_out(self, records: Tensor, learning: Sequence[int]) -> list[int]:
        """Those of the runs that may end after the last of the recorded steps. `records` as in `State`."""
        step = len(records)
        ended = []
        for run in learning:
            rule = self.rules[run]
            if rule and step and step % rule.every == 0:
                losses = records[rule.every - 1 :: rule.every, run, 3].double().numpy()
                if levelled_out(losses, step, rule):
                    ended.append(run)
        return ended


def levelled_out(losses: NDArray[np.float64], step: int, rule: StopRule) -> bool:
    """Whether a run may end after `step`.

    losses  one for every `rule.every` steps so far. The run may end when their variance over the last `rule.window`
            steps is below `rule.threshold` of that over all.
    """
    recent = losses[-max(MIN_VALUES, rule.window // rule.every) :]
    if step < rule.floor or len(losses) <= len(recent):
        return False
    return bool(recent.var() < rule.threshold * losses.var())
