"""Likeness to the training pictures, as CLIP sees it (CLIP-I of Ruiz et al. 2023, over all pairs)."""

from torch import Tensor

from stages.evaluate.measures.measure import Floats, Measure


def image_similarity(embeddings: Tensor, references: Tensor) -> Floats:
    """Mean cosine to the training pictures, -1 to 1."""
    return (embeddings @ references.T).mean(1).double().numpy()


IMAGE_SIMILARITY = Measure("image_similarity", ("embeddings", "references"), True, image_similarity)
