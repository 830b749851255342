"""Copying: does a picture repeat a training picture as a whole?

value          standard deviations by which the nearest training picture is nearer than training pictures are to their
               own nearest one. NaN with fewer than three training pictures, which say nothing of how near is usual
direction      lower is better
source         nearest training picture, standardised (Somepalli et al. 2023 ask the same with a copy detector)
preprocessing  thumbnails of 16 x 16 colours, each channel less its mean, cosine: they hold the place of everything,
               which the judges' features leave out
"""

import numpy as np

from stages.judge.measures.measure import Evidence, Floats, Measure, Sight, Training

MIN_PICTURES = 3
MIN_DEVIATION = 0.02  # of cosine: of training pictures that are all equally near to each other


def nearest(drawn: Sight, training: Training) -> list[str]:
    """The id of each picture's nearest training picture."""
    places = (drawn.thumbnails @ training.sight.thumbnails.T).argmax(1)
    return [training.ids[place] for place in places]


def copying(evidence: Evidence) -> Floats:
    pictures, apart = evidence.training.sight.thumbnails, evidence.training.apart()
    if len(set(evidence.training.sources)) < MIN_PICTURES:
        return np.full(len(evidence.prompts), np.nan)
    usual = np.where(apart, pictures @ pictures.T, -1).max(1)
    near = (evidence.drawn.thumbnails @ pictures.T).max(1)
    return np.asarray((near - usual.mean()) / max(float(usual.std()), MIN_DEVIATION))


COPYING = Measure("copying", False, copying)
