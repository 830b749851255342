"""Whether the image judge is to be believed here: how often it finds another picture of the same concept nearest."""

import torch
from torch import Tensor

from pseudoword.records import Share
from stages.judge.measures.measure import Training


def retrieval_at_1(training: Training, look_alikes: Tensor) -> Share | None:
    """Of the training pictures the share whose nearest other one is a training picture of another file, and no
    look-alike (M, D). None where there is but one file."""
    apart = torch.from_numpy(training.apart())
    if not apart.any():
        return None
    features = training.sight.features
    to_mine = (features @ features.T).masked_fill(~apart, -1).amax(1)
    found = (to_mine > (features @ look_alikes.T).amax(1)).sum()
    return Share.of(int(found), len(features))
