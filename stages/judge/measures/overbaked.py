"""Overbaked: are the colours too strong, the edges burnt, the surfaces grainy or busy?

value          by how many powers of two saturation, contrast, grain or busyness exceeds both that of the init's picture
               of the same prompt and noise and the mean of the training pictures; of the four the one that is furthest
               off in the mean of the column, since any picture of a set exceeds the set's mean in one of them
direction      lower is better; below 0 nothing exceeds
source         the burnt look that users of textual inversion stop at, in the plainest statistics that show it: mean
               chroma, standard deviation of the luma, that of its Laplacian, and the median of its standard deviation
               within 8 x 8 blocks, which flat surfaces keep low
preprocessing  none, pixels from 0 to 1
"""

import numpy as np

from stages.judge.measures.measure import Evidence, Floats, Measure

MIN_TONE = 1e-3  # of a range of 1; keeps the logarithm of a blank picture finite


def overbaked(evidence: Evidence) -> Floats:
    usual = np.maximum(evidence.init.tones, evidence.training.sight.tones.mean(0))
    drawn, usual = (np.log2(np.maximum(tones, MIN_TONE)) for tones in (evidence.drawn.tones, usual))
    excess = drawn - usual
    return np.asarray(excess[:, excess.mean(0).argmax()])


OVERBAKED = Measure("overbaked", False, overbaked)
