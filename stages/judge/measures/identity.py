"""Identity: is a picture of this concept, or of another of its kind?

value          1 where the nearest picture of a gallery is a training picture, else 0; the gallery has equally many
               training pictures and look-alikes, which are what the init text draws, spread evenly over each. NaN of
               an init's picture beside which there is no other
direction      higher is better, up to 1
source         retrieval among look-alikes in place of a mean cosine, after Finer-Personalization Rank (2025): a mean
               hides that a thing drifts towards its class
preprocessing  the image judge's own; cosine
"""

import numpy as np
import torch

from stages.judge.measures.measure import Evidence, Floats, Measure


def identity(evidence: Evidence) -> Floats:
    training, init = evidence.training.sight.features, evidence.init.features
    number = min(len(training), len(init))
    mine, theirs = (np.linspace(0, len(each) - 1, number).round().astype(int) for each in (training, init))
    to_mine = (evidence.drawn.features @ training[mine].T).amax(1)
    to_theirs = evidence.drawn.features @ init[theirs].T
    if evidence.is_init:  # a picture is no look-alike of itself
        itself = torch.arange(len(to_theirs))[:, None] == torch.from_numpy(theirs)[None]
        to_theirs = to_theirs.masked_fill(itself, -torch.inf)
    nearest = to_theirs.amax(1)
    return (to_mine > nearest).double().masked_fill(nearest.isneginf(), torch.nan).numpy()


IDENTITY = Measure("identity", True, identity)
