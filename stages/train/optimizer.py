"""AdamW over the vectors of all runs as one tensor, each row at its own rate, without host synchronisation."""

import torch
from torch import Tensor


class RowAdamW:
    """AdamW (Loshchilov and Hutter 2019, algorithm 2) with weight decay 0 and one learning rate per row.

    The state is two tensors of the parameters' shape and a count, all on the device and all in float32, so that it is
    kilobytes to save. A row whose rate is 0 does not move: its run has ended.
    """

    BETAS = (0.9, 0.999)
    EPS = 1e-8

    def __init__(self, vectors: Tensor) -> None:
        """`vectors` (K, D) is updated in place."""
        self.vectors = vectors
        self.first = torch.zeros_like(vectors)
        self.second = torch.zeros_like(vectors)

    @torch.no_grad()
    def step(self, gradient: Tensor, rates: Tensor, count: Tensor) -> None:
        """One update. gradient (K, D); rates (K, 1); count () the updates done with this one, from 1."""
        first_decay, second_decay = self.BETAS
        self.first.lerp_(gradient, 1 - first_decay)
        self.second.lerp_(gradient.square(), 1 - second_decay)
        mean = self.first / (1 - first_decay**count)
        spread = (self.second / (1 - second_decay**count)).sqrt_()
        self.vectors.sub_(rates * mean / (spread + self.EPS))


@torch.no_grad()
def rescale(vectors: Tensor, norm: Tensor) -> None:
    """Give each vector (K, D) the norm (K, 1), in place; where `norm` is not above zero it keeps its own.

    AdamW inflates the norm without any gain in loss, and a vector far above the vocabulary's norm drowns position and
    context in the encoder (Kim et al. 2025, "Directional Textual Inversion"). A zero vector stays where it is.
    """
    own = vectors.norm(dim=-1, keepdim=True)
    vectors.mul_(torch.where((norm > 0) & (own > 0), norm / own.clamp(min=1e-12), 1.0))
