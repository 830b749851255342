"""Overbaked: are the colours too strong, the edges burnt, the surfaces grainy?

value          standard deviations by which saturation, contrast or fine grain (whichever is furthest off) exceed both
               the init's picture of the same prompt and noise and the mean of the training pictures; of logarithms,
               the deviation being that among the init's pictures and among the training pictures
direction      lower is better; below 0 nothing exceeds
source         the burnt look that users of textual inversion stop at, in the plainest statistics that show it: mean
               chroma, standard deviation of the luma, standard deviation of its Laplacian
preprocessing  none, pixels from 0 to 1
"""

import numpy as np

from stages.judge.measures.measure import Evidence, Floats, Measure

MIN_DEVIATION = 0.05  # of a logarithm: five per cent
MIN_TONE = 1e-3  # of a range of 1; keeps the logarithm of a blank picture finite


def overbaked(evidence: Evidence) -> Floats:
    drawn, init, training = (
        np.log(np.maximum(sight.tones, MIN_TONE)) for sight in (evidence.drawn, evidence.init, evidence.training.sight)
    )
    deviation = np.maximum(np.sqrt((init.var(0) + training.var(0)) / 2), MIN_DEVIATION)
    return np.asarray(((drawn - np.maximum(init, training.mean(0))) / deviation).max(1))


OVERBAKED = Measure("overbaked", False, overbaked)
