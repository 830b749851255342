"""The deterministic loss: always the same pictures, noise levels and noise, so that only the word differs.

It is the squared error by the pictures' weight maps, whatever a run was trained with, so runs with different losses are
comparable too. `train` watches it on a few pictures, `evaluate` scores every checkpoint by it on all of them.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pseudoword.base.interface import Base, Conditioning
from pseudoword.draws import Stream, generator
from pseudoword.latents import Group, Latents

LATENTS_AT_ONCE = 16 * 64 * 64  # numbers per channel: sixteen samples of up to 512 px, four of 1024
MAX_BATCH = 16
SEED = 0  # fixed: values of different settings stay comparable


def noise_key(picture: str) -> int:
    """The key of a picture's noise: the id itself where it is 12 hex digits, a hash of it with a suffix."""
    if re.fullmatch("[0-9a-f]{12}", picture):
        return int(picture, 16)
    return int.from_bytes(hashlib.sha256(picture.encode()).digest()[:8], "big")


def fixed_noise(picture: str, level: int, shape: tuple[int, ...]) -> Tensor:
    """Standard normal float32, a function of the picture's id and the number of the noise level only."""
    dice = generator(SEED, Stream.SCORE, noise_key(picture), level)
    return torch.from_numpy(dice.standard_normal(shape, np.float32))


@dataclass(frozen=True)
class _Samples:
    """The samples of n pictures of one shape at T noise levels, on the device; a picture's levels lie together."""

    rows: Tensor  # (n,) int64, the pictures' places in Latents.ids
    clean: Tensor  # (n, C, h, w) float32
    weight: Tensor  # (n, 1, h, w) float32
    picture: Tensor  # (n x T,) int64, its place in the three above
    t: Tensor  # (n x T,) int64
    noise: Tensor  # (n x T, C, h, w) float32


class DeterministicLoss:
    """The mean loss of what was learned over pictures and noise levels, each picture with its own prompt.

    loss = DeterministicLoss(base, latents, levels=8)
    float(loss(lambda rows: base.encode(ids[rows], vectors)))
    """

    def __init__(self, base: Base, latents: Latents, levels: int, pictures: Collection[int] | None = None) -> None:
        """levels    how many noise levels, the middles of equal bins
        pictures  their places in `latents.ids`; None: all
        """
        self.base = base
        chosen = range(len(latents.ids)) if pictures is None else pictures
        self.samples = [
            self._samples(latents.ids, group, kept, levels)
            for group in latents.groups
            if (kept := [i for i, row in enumerate(group.rows) if row in chosen])
        ]

    def _samples(self, ids: list[str], group: Group, kept: list[int], levels: int) -> _Samples:
        shape, rows, device = tuple(group.mean.shape[1:]), [group.rows[i] for i in kept], self.base.device
        noise = torch.stack([fixed_noise(ids[row], level, shape) for row in rows for level in range(levels)])
        t = ((torch.arange(levels) + 0.5) * self.base.num_timesteps / levels).long()
        return _Samples(
            rows=torch.tensor(rows, device=device),
            clean=group.mean[kept].to(device),
            weight=group.weight[kept].to(device),
            picture=torch.arange(len(rows)).repeat_interleave(levels).to(device),
            t=t.repeat(len(rows)).to(device),
            noise=noise.to(device),
        )

    @torch.no_grad()
    def __call__(self, condition: Callable[[Tensor], Conditioning], max_batch: int = MAX_BATCH) -> Tensor:
        """() float32 on the device, which is not waited for.

        condition  the prompts of pictures, by their places in `latents.ids`, (n,) int64 on the device
        max_batch  samples at once, at most; fewer where they are large
        """
        losses = [loss for samples in self.samples for loss in self._losses(samples, condition, max_batch)]
        return torch.cat(losses).mean()

    def _losses(
        self, samples: _Samples, condition: Callable[[Tensor], Conditioning], max_batch: int
    ) -> Iterator[Tensor]:
        conditioning = condition(samples.rows)
        height, width = samples.noise.shape[2:]
        batch = max(1, min(max_batch, MAX_BATCH, LATENTS_AT_ONCE // (height * width)))
        for start in range(0, len(samples.t), batch):
            part = slice(start, start + batch)
            picture = samples.picture[part]
            clean, weight = samples.clean[picture], samples.weight[picture]
            residual = self.base.residual(clean, samples.noise[part], samples.t[part], conditioning[picture])
            yield (weight * residual.square()).mean((1, 2, 3))
