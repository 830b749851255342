"""Prompts that come again and again, encoded once: where no vector of theirs is learned they always read the same."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudoword.base.interface import Base, Conditioning, stacked

MAX_BYTES = 256 * 2**20  # about what the text encoder of Stable Diffusion 1.5 takes, whose place they take


def can_be_kept(prompts: Sequence[NDArray[np.int64]], base: Base) -> bool:
    """Whether there is room for what these ids (E, W, L) come to."""
    tokens: int = len({ids.tobytes() for ids in prompts}) * prompts[0][0].size
    return tokens * base.keys_and_values.widths[0] * base.dtype.itemsize <= MAX_BYTES


class EncodedPrompts:
    """What the UNet reads of prompts, kept on its device; the text encoders are set aside.

    Each is encoded alone: in a batch it would be rounded by what else is there, and a training that goes on meets them
    in another order.
    """

    def __init__(self, base: Base, prompts: Sequence[NDArray[np.int64]]) -> None:
        """`prompts`: ids (E, W, L) of those to encode now; a further one is at its first use."""
        self.base = base
        self.known: dict[bytes, Conditioning] = {}
        for ids in prompts:
            self._encode(ids)
        base.set_aside(*base.text_encoders)

    def __call__(self, ids: Tensor) -> Conditioning:
        """`ids` (n, E, W, L) on the host, to look up without waiting for the device."""
        return stacked([self._encode(prompt) for prompt in ids.numpy()])

    @torch.no_grad()
    def _encode(self, ids: NDArray[np.int64]) -> Conditioning:
        key = ids.tobytes()
        if key not in self.known:
            no_vectors = torch.empty(0, sum(self.base.widths), device=self.base.device)
            self.known[key] = self.base.encode(torch.from_numpy(ids)[None].to(self.base.device), no_vectors)
        return self.known[key]
