"""Variety: how many different pictures do the seeds of a prompt give?

value          Vendi score of the pictures of the prompt, at the first of them, relative to that of the init's:
               the exponential of the entropy of the eigenvalues of K / n, where K are the cosines of n pictures.
               Alone it lies between 1 (all the same) and n (nothing in common). NaN with one seed
direction      neither: far below 1 the word draws the same picture again and again
source         Friedman and Dieng 2023, eq. 1
preprocessing  the text judge's, which sees the whole of a picture and not only the concept
"""

import numpy as np
from torch import Tensor

from stages.judge.measures.measure import Evidence, Floats, Measure


def vendi(vectors: Tensor) -> float:
    """1 to n, of n unit vectors (n, D)."""
    cosines = (vectors @ vectors.T).double().numpy()
    values = np.linalg.eigvalsh(cosines / len(vectors))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def variety(evidence: Evidence) -> Floats:
    found = np.full(len(evidence.prompts), np.nan)
    for prompt in dict.fromkeys(evidence.prompts):
        rows = [i for i, each in enumerate(evidence.prompts) if each == prompt]
        if len(rows) > 1:
            found[rows[0]] = vendi(evidence.drawn.embeddings[rows]) / vendi(evidence.init.embeddings[rows])
    return found


VARIETY = Measure("variety", None, variety)
