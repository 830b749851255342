"""The deterministic loss: every checkpoint on the same pictures, timesteps and noise, so that only the word differs."""

import hashlib
import re

import numpy as np
import torch
from torch import Tensor

from pseudoword.base.interface import Base
from pseudoword.draws import Stream, generator
from pseudoword.latents import Group, Latents

LATENTS_AT_ONCE = 16 * 64 * 64  # numbers per channel: sixteen samples of up to 512 px, four of 1024
MOST_AT_ONCE = 16
SEED = 0  # fixed: scores of different settings stay comparable


def noise_key(name: str) -> int:
    """A picture's own key of its noise: the id itself where it is 12 hex digits, a hash of it with a suffix."""
    if re.fullmatch("[0-9a-f]{12}", name):
        return int(name, 16)
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def fixed_noise(latents: Latents, timesteps: int) -> list[Tensor]:
    """(n, T, C, h, w) float32 standard normal for each group, keyed by the picture's id and the noise level."""
    return [
        torch.from_numpy(np.array([_noise(latents.ids[row], group, timesteps) for row in group.rows]))
        for group in latents.groups
    ]


def _noise(name: str, group: Group, timesteps: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    shape = tuple(group.mean.shape[1:])
    return [
        generator(SEED, Stream.SCORE, noise_key(name), level).standard_normal(shape, np.float32)
        for level in range(timesteps)
    ]


@torch.no_grad()
def deterministic_loss(base: Base, latents: Latents, noise: list[Tensor], ids: Tensor, vectors: Tensor) -> float:
    """The mean loss over all pictures at the middles of T equal bins of noise levels, pictures by their weight maps.

    noise    of `fixed_noise`
    ids      (N, ...) int64, each picture's prompt
    vectors  (K, D), the checkpoint
    """
    vectors = vectors.to(base.device)
    losses = [
        _losses(base, group, own, ids[group.rows], vectors) for group, own in zip(latents.groups, noise, strict=True)
    ]
    return float(torch.cat(losses).mean())


def _losses(base: Base, group: Group, noise: Tensor, ids: Tensor, vectors: Tensor) -> Tensor:
    """(n * T,) losses of one group, a picture's levels together."""
    device, (number, timesteps) = base.device, noise.shape[:2]
    states = base.encode(ids.to(device), vectors)
    levels = ((torch.arange(timesteps) + 0.5) * base.num_timesteps / timesteps).long()
    t = levels.repeat(number).to(device)
    picture = torch.arange(number).repeat_interleave(timesteps)
    flat = noise.flatten(0, 1)
    at_once = max(1, min(MOST_AT_ONCE, LATENTS_AT_ONCE // (flat.shape[2] * flat.shape[3])))
    losses = []
    for part in torch.arange(number * timesteps).split(at_once):
        rows = picture[part]
        clean, weight = group.mean[rows].to(device), group.weight[rows].to(device)
        error = base.residual(clean, flat[part].to(device), t[part.to(device)], states[rows.to(device)])
        losses.append((weight * error.square()).mean((1, 2, 3)))
    return torch.cat(losses)
