"""Whether the image judge is to be believed here: how often it finds another picture of the same concept nearest."""

import numpy as np
import torch
from torch import Tensor

from pseudoword.records import Share
from stages.judge.measures.measure import Training

Z = 1.96  # of a 95 % interval


def retrieval_at_1(training: Training, look_alikes: Tensor) -> Share | None:
    """Of the training pictures the share whose nearest other one is a training picture of another file, and no
    look-alike (M, D). None where there is but one file."""
    apart = torch.from_numpy(training.apart())
    if not apart.any():
        return None
    features = training.sight.features
    to_mine = (features @ features.T).masked_fill(~apart, -1).amax(1)
    found = (to_mine > (features @ look_alikes.T).amax(1)).sum()
    return share_of(int(found), len(features))


def share_of(found: int, number: int) -> Share:
    """With its 95 % interval (Wilson 1927, eq. 2)."""
    share = found / number
    centre = (share + Z**2 / (2 * number)) / (1 + Z**2 / number)
    half = Z / (1 + Z**2 / number) * float(np.sqrt(share * (1 - share) / number + Z**2 / (4 * number**2)))
    return Share(value=share, low=max(centre - half, 0.0), high=min(centre + half, 1.0), number=number)
