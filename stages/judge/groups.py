"""Do the training pictures show one thing, or two? A word learns what they have in common."""

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from stages.judge.measures.measure import Floats, Training

LEAST = 3  # pictures of a group: fewer are odd ones out
MIN_SILHOUETTE = 0.75  # 1 in 1800 sets of one of toyworld's things or styles has it; see docs/decisions/0009


def two_groups(training: Training) -> list[list[str]]:
    """The files of each of two groups that lie well apart for the image judge, the larger first; empty where all show
    one thing.

    Average linkage over cosine distances, cut in two, and told by the mean silhouette of the pictures (Rousseeuw 1987).
    """
    sources = np.array(training.sources)
    files, first = np.unique(sources, return_index=True)  # mirrored copies and tiles are no further pictures
    features = training.sight.features[first].double().numpy()
    if len(files) < 2 * LEAST or not np.isfinite(features).all():
        return []
    distances = np.clip(1 - features @ features.T, 0, None)
    np.fill_diagonal(distances, 0)
    label = fcluster(linkage(squareform(distances, checks=False), "average"), 2, "maxclust")
    groups = sorted((list(files[label == one]) for one in set(label)), key=len, reverse=True)
    if len(groups) < 2 or len(groups[1]) < LEAST or silhouette(distances, label) < MIN_SILHOUETTE:
        return []
    return [[str(file) for file in group] for group in groups]


def silhouette(distances: Floats, label: NDArray[np.int32]) -> float:
    """Mean over the pictures of two groups, -1 to 1: how much nearer each is to its own group than to the other."""
    same = label[:, None] == label[None]
    own = (distances * same).sum(1) / (same.sum(1) - 1)
    other = (distances * ~same).sum(1) / (~same).sum(1)
    return float(((other - own) / np.maximum(np.maximum(own, other), 1e-12)).mean())
