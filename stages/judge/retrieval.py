"""Whether the image judge is to be believed here: how often it finds another picture of the same concept nearest."""

import numpy as np
import torch
from torch import Tensor

from pseudoword.records import Share
from stages.judge.measures.measure import Training


def retrieval_at_1(training: Training, look_alikes: Tensor) -> Share | None:
    """Of the files the share whose picture, the first where there are mirrored copies or tiles, has a training picture
    of another file for its nearest, and no look-alike (M, D). None where there is but one file."""
    apart = torch.from_numpy(training.apart())
    if not apart.any():
        return None
    features = training.sight.features
    first = torch.from_numpy(np.unique(np.array(training.sources), return_index=True)[1])
    to_mine = (features[first] @ features.T).masked_fill(~apart[first], -1).amax(1)
    found = (to_mine > (features[first] @ look_alikes.T).amax(1)).sum()
    return Share.of(int(found), len(first))
