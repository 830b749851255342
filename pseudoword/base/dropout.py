"""Dropout whose masks are functions of a key, like all other draws, made on the device by a counter and a mixer.

A hidden layer of a UNet takes millions of numbers for each row: too many to draw on the host and send over. The mixer
is that of SplitMix64 (Steele, Lea and Flood 2014), whose arithmetic is the same on every device.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

GAMMA = 0x9E3779B97F4A7C15 - 2**64  # with a sign, as torch takes it
STEPS = ((30, 0xBF58476D1CE4E5B9 - 2**64), (27, 0x94D049BB133111EB - 2**64))
LAYERS = 64  # more than a module has; keeps the places of different calls apart


@dataclass(frozen=True)
class Masks:
    """Of the rows of a batch; recomputed activations meet the same masks, and so do rows in another batch."""

    keys: Tensor  # (B,) int64, a draw for each row
    place: int  # where in the UNet: no two modules in use share one

    def dropped(self, hidden: Tensor, share: float, layer: int) -> Tensor:
        """(B, L, D) with a `share` of its numbers set to 0 and the others made larger, so that the mean stays."""
        rows = _mixed(self.keys + _wrapped((self.place * LAYERS + layer) * GAMMA))
        places = torch.arange(1, hidden[0].numel() + 1, device=hidden.device) * GAMMA
        draws = _shifted(_mixed(rows.unsqueeze(1) + places), 11)  # 53 bits
        return torch.where(draws.view_as(hidden) >= int(share * 2**53), hidden / (1 - share), 0)


def _wrapped(number: int) -> int:
    """As 64 bits hold it."""
    return (number + 2**63) % 2**64 - 2**63


def _mixed(state: Tensor) -> Tensor:
    for bits, factor in STEPS:
        state = (state ^ _shifted(state, bits)) * factor
    return state ^ _shifted(state, 31)


def _shifted(state: Tensor, bits: int) -> Tensor:
    """To the right as if there were no sign."""
    shifted: Tensor = (state >> bits) & (2 ** (64 - bits) - 1)
    return shifted
