"""Obedience to the prompt, as CLIP sees it (CLIP-T of Gal et al. 2022: the word is taken out of the prompt first)."""

from torch import Tensor

from stages.evaluate.measures.measure import Floats, Measure


def text_similarity(embeddings: Tensor, text_embeddings: Tensor) -> Floats:
    """Cosine to what the picture's prompt says besides the word, -1 to 1."""
    return (embeddings * text_embeddings).sum(1).double().numpy()


TEXT_SIMILARITY = Measure("text_similarity", ("embeddings", "text_embeddings"), True, text_similarity)
