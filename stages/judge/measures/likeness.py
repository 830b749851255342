"""Likeness: how like the training pictures a picture is.

value          (mean cosine to the training pictures, less that of the init's picture of the same prompt and noise) /
               way; the way leads from the mean of the init's pictures to the mean of the training pictures among each
               other. So the mean over pictures is 0 for what the init text draws and 1 for what is as like the
               training pictures as they are like each other. NaN where there is no way to go
direction      higher is better, up to 1
source         CLIP-I and DINO of Ruiz et al. 2023 (DreamBooth), mean over all pairs, on a scale between two controls
preprocessing  the image judge's own; see pseudoword/judge.py for which features
"""

from functools import cache

import numpy as np
import torch
from torch import Tensor

from pseudoword.records import MIN_WAY
from stages.judge.measures.measure import Evidence, Floats, Measure, Training


def to_training(features: Tensor, training: Training) -> Floats:
    """Mean cosine of each picture to the training pictures, -1 to 1."""
    return (features @ training.sight.features.T).mean(1).double().numpy()


@cache
def among_training(training: Training) -> float:
    """Mean cosine of different training pictures; 1 for a single one."""
    apart = torch.from_numpy(training.apart())
    cosines = training.sight.features @ training.sight.features.T
    return float(cosines[apart].double().mean()) if apart.any() else 1.0


def likeness(evidence: Evidence) -> Floats:
    drawn, init = (to_training(sight.features, evidence.training) for sight in (evidence.drawn, evidence.init))
    way = among_training(evidence.training) - init.mean()
    return (drawn - init) / way if way >= MIN_WAY else np.full(len(drawn), np.nan)


LIKENESS = Measure("likeness", True, likeness)
