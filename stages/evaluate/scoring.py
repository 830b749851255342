"""The deterministic loss: every checkpoint on the same pictures, timesteps and noise, so that only the word differs."""

import numpy as np
import torch
from torch import Tensor

from pseudoword.base.interface import Base
from pseudoword.draws import Stream, generator
from pseudoword.latents import Latents

BATCH = 16
SEED = 0  # fixed: scores of different settings stay comparable


def fixed_noise(latents: Latents, timesteps: int) -> Tensor:
    """(N, T, C, H, W) float32 standard normal, keyed by the picture's content and the noise level."""
    shape = tuple(latents.mean.shape[1:])
    rows = [
        [
            generator(SEED, Stream.SCORE, int(name, 16), level).standard_normal(shape, np.float32)
            for level in range(timesteps)
        ]
        for name in latents.ids
    ]
    return torch.from_numpy(np.array(rows))


@torch.no_grad()
def deterministic_loss(base: Base, latents: Latents, noise: Tensor, ids: Tensor, vectors: Tensor) -> float:
    """The mean loss over all pictures at the middles of T equal bins of noise levels.

    noise    (N, T, C, H, W) of `fixed_noise`
    ids      (N, L) int64, each picture's prompt
    vectors  (K, D), the checkpoint
    """
    device, (number, timesteps) = base.device, noise.shape[:2]
    states = base.encode(ids.to(device)[:, None, None], vectors.to(device))
    levels = ((torch.arange(timesteps) + 0.5) * base.num_timesteps / timesteps).long()
    t = levels.repeat(number).to(device)
    picture = torch.arange(number).repeat_interleave(timesteps)
    flat = noise.flatten(0, 1)
    losses = []
    for part in torch.arange(number * timesteps).split(BATCH):
        clean = latents.mean[picture[part]].to(device)
        losses.append(base.loss(clean, flat[part].to(device), t[part], states[picture[part].to(device)]))
    return float(torch.cat(losses).mean())
