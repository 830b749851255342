"""Which picture, prompt, noise level and noise each sample of each update sees: keyed, drawn ahead in blocks."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudoword.draws import Stream, generator


@dataclass(frozen=True)
class Samples:
    """The draws of U updates of S samples each."""

    picture: Tensor  # (U, S) int64
    template: Tensor  # (U, S) int64
    t: Tensor  # (U, S) int64
    posterior: Tensor  # (U, S, C, H, W) float32, standard normal
    noise: Tensor  # (U, S, C, H, W) float32, standard normal


def draw_samples(
    seed: int, updates: range, samples: int, pictures: int, templates: int, timesteps: int, shape: tuple[int, ...]
) -> Samples:
    """The draws of some updates (counted from 0); equal for equal (seed, update, sample), however they are grouped.

    Pictures come in a fresh order per pass, so each is seen equally often. Timesteps are stratified: one from each of
    `samples` equal bins per update, which estimates the same loss with less variance than independent ones.
    """
    picture = np.empty((len(updates), samples), np.int64)
    template = np.empty_like(picture)
    t = np.empty_like(picture)
    normal = np.empty((2, len(updates), samples, *shape), np.float32)
    for row, update in enumerate(updates):
        picture[row] = [_picture(seed, update * samples + index, pictures) for index in range(samples)]
        bins = generator(seed, Stream.TIMESTEPS, update).permutation(samples)
        for index in range(samples):
            own = generator(seed, Stream.SAMPLE, update, index)
            template[row, index] = own.integers(templates)
            t[row, index] = int((bins[index] + own.random()) * timesteps / samples)
            normal[:, row, index] = own.standard_normal((2, *shape), np.float32)
    return Samples(*map(torch.from_numpy, (picture, template, t, normal[0], normal[1])))


def _picture(seed: int, position: int, pictures: int) -> int:
    """The picture at a position in the endless sequence of shuffled passes."""
    turn, place = divmod(position, pictures)
    return int(_order(seed, turn, pictures)[place])


@lru_cache(maxsize=4)
def _order(seed: int, turn: int, pictures: int) -> NDArray[np.int64]:
    return generator(seed, Stream.ORDER, turn).permutation(pictures)
