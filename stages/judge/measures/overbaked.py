"""Overbaked: are the colours too strong, the edges burnt, the surfaces grainy or busy?

value          by how many powers of two saturation, contrast, grain or busyness exceeds both that of the init's picture
               of the same prompt and noise and the mean of the training pictures; of the four the one that is furthest
               off in the mean of the column, since any picture of a set exceeds the set's mean in one of them
direction      lower is better; below 0 nothing exceeds
source         the burnt look that users of textual inversion stop at, in the plainest statistics that show it: mean
               chroma, standard deviation of the luma, that of its Laplacian, and the median over an 8 by 8 grid of the
               deviation of the opponent colours within a cell, which surfaces of one colour keep low
preprocessing  none, pixels from 0 to 1
"""

import numpy as np

from stages.judge.measures.measure import Evidence, Floats, Measure

# Saturation, contrast, grain and busyness that hardly show: below them, twice as much is nothing that anyone sees.
FAINT = np.array([0.01, 0.01, 0.001, 0.01])


def overbaked(evidence: Evidence) -> Floats:
    drawn, init, training = (
        np.maximum(sight.tones, FAINT) for sight in (evidence.drawn, evidence.init, evidence.training.sight)
    )
    excess = np.log2(drawn / np.maximum(init, training.mean(0)))
    return np.asarray(excess[:, excess.mean(0).argmax()])


OVERBAKED = Measure("overbaked", False, overbaked)
