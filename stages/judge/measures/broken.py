"""Broken: a picture of one colour, which a word draws that broke the model.

value          1 where no channel deviates by more than four of 255 levels, else 0
direction      lower is better
source         numbers that are not finite become black when a picture is saved
preprocessing  none
"""

import numpy as np

from stages.judge.measures.measure import Evidence, Floats, Measure

MIN_DEVIATION = 4.0  # of 255


def broken(evidence: Evidence) -> Floats:
    return (evidence.drawn.deviation < MIN_DEVIATION).astype(np.float64)


BROKEN = Measure("broken", False, broken)
