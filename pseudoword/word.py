"""The word: how many vectors it has, where they start, and whether its name is free."""

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from pseudoword.errors import UserError

# (at most so many pictures, vectors), as the guides of textual inversion's users give it.
VECTORS_BY_PICTURES = ((10, 2), (30, 5), (60, 8), (100, 10))
MANY_PICTURES_VECTORS = 12


class NameTaken(UserError):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"word.name: '{name}' is a word that the base model knows already, so old prompts would change their "
            f"meaning. Choose one that nobody writes by accident, for example '{name}-x1'."
        )


def vectors_for(pictures: int) -> int:
    """How many vectors `auto` means."""
    return next((vectors for most, vectors in VECTORS_BY_PICTURES if pictures <= most), MANY_PICTURES_VECTORS)


def check_name(name: str, tokenizer: CLIPTokenizer) -> None:
    """Raise NameTaken if the tokenizer has the whole name as one token."""
    if len(tokenizer.tokenize(name)) == 1:
        raise NameTaken(name)


def initial_vectors(init_text: str, vectors: int, table: Tensor, tokenizer: CLIPTokenizer) -> Tensor:
    """(K, D) float32: the embeddings of the text's tokens spread over the vectors, row i from token floor(i T / K).

    `init_text` may have any number of tokens; those beyond K are dropped. Empty gives zeros.
    """
    ids = tokenizer(init_text, add_special_tokens=False)["input_ids"][:vectors] if init_text.strip() else []
    if not ids:
        return torch.zeros(vectors, table.shape[1], device=table.device)
    spread = [ids[row * len(ids) // vectors] for row in range(vectors)]
    return table[torch.tensor(spread, device=table.device)].detach().float().clone()


def vocabulary_norm(table: Tensor) -> float:
    """Mean Euclidean norm of the token embeddings."""
    return float(table.detach().float().norm(dim=-1).mean())
