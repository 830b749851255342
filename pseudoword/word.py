"""The word: how many vectors it has, where they start, and whether its name is free."""

import difflib
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from pseudoword.errors import UserError
from pseudoword.formats.embedding import Embedding
from pseudoword.formats.reading import NotInBundle, read_embedding
from pseudoword.settings.word import EMBEDDINGS as EMBEDDINGS

# As the guides of textual inversion's users give it; MAX_VECTORS for more pictures.
MAX_PICTURES_AND_VECTORS = ((10, 2), (30, 5), (60, 8), (100, 10))
MAX_VECTORS = 12


class NameTaken(UserError):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"word.name: '{name}' is a word that the base model knows already, so old prompts would change their "
            f"meaning. Choose one that nobody writes by accident, for example '{name}-x1'."
        )


class DoesNotFit(UserError):
    """An embedding file that the setting `key` names is not one for what it is named for."""

    def __init__(self, key: str, path: Path, found: str, wanted: str) -> None:
        super().__init__(f"{key}: {path} {found}, wanted {wanted}.")


def vectors_for(pictures: int) -> int:
    """How many vectors `auto` means; see `pseudoword.pictures.ids.count_unmirrored` for what counts."""
    return next((vectors for most, vectors in MAX_PICTURES_AND_VECTORS if pictures <= most), MAX_VECTORS)


def check_name(name: str, tokenizer: CLIPTokenizer) -> list[str]:
    """The words of the vocabulary that the name could be mistaken for, nearest first, at most three.

    Raises NameTaken if the tokenizer has the whole name as one token.
    """
    if len(tokenizer.tokenize(name)) == 1:
        raise NameTaken(name)
    words = [token.removesuffix("</w>") for token in tokenizer.get_vocab() if token.endswith("</w>")]
    return difflib.get_close_matches(name, [word for word in words if abs(len(word) - len(name)) < 2], 3, 0.85)


def initial_vectors(
    init_text: str, vectors: int, tables: Sequence[Tensor], tokenizers: Sequence[CLIPTokenizer]
) -> Tensor:
    """(K, D) float32: the embeddings of the text's tokens spread over the vectors, row i from token floor(i T / K).

    `init_text` may have any number of tokens; those beyond K are dropped. Empty gives zeros. With several encoders
    their embeddings lie side by side.
    """
    return torch.cat([_spread(init_text, vectors, *pair) for pair in zip(tables, tokenizers, strict=True)], dim=1)


def left_out(init_text: str, vectors: int, tokenizer: CLIPTokenizer) -> str:
    """A sentence about the end of the init text that the vectors have no room for; empty when they have."""
    ids = tokenizer(init_text, add_special_tokens=False)["input_ids"] if init_text.strip() else []
    if len(ids) <= vectors:
        return ""
    kept, lost = (str(tokenizer.decode(part)).strip() for part in (ids[:vectors], ids[vectors:]))
    return (
        f"the init text '{init_text}' has {len(ids)} tokens for {vectors} vector{'s' * (vectors > 1)}: the word starts "
        f"from '{kept}' without '{lost}'. Shorten the text, or take more vectors."
    )


def _spread(init_text: str, vectors: int, table: Tensor, tokenizer: CLIPTokenizer) -> Tensor:
    ids = tokenizer(init_text, add_special_tokens=False)["input_ids"][:vectors] if init_text.strip() else []
    if not ids:
        return torch.zeros(vectors, table.shape[1], device=table.device)
    spread = [ids[row * len(ids) // vectors] for row in range(vectors)]
    return table[torch.tensor(spread, device=table.device)].detach().float().clone()


def embedding_for(
    file: Path, widths: Sequence[int], key: str, folder: Path = EMBEDDINGS, word: str | None = None
) -> Embedding:
    """The word of an embedding file of any format that is read here, which the setting `key` names.

    word  one of several in the file

    Raises DoesNotFit when it is of another base model, or the file holds several words and not that one.
    """
    path = folder / file
    try:
        embedding = read_embedding(path, word)
    except NotInBundle as error:
        names = ", ".join(f"'{file}:{name}'" for name in error.words)
        raise DoesNotFit(key, path, error.found, f"one of them, written as {names}") from None
    if (found := [part.shape[1] for part in _parts(embedding)]) != list(widths):
        sizes, wanted = (" and ".join(map(str, each)) for each in (found, widths))
        raise DoesNotFit(key, path, f"has vectors of {sizes} numbers", f"{wanted} for this base model")
    return embedding


def stored_vectors(
    file: Path, vectors: int | None, widths: Sequence[int], folder: Path = EMBEDDINGS, word: str | None = None
) -> Tensor:
    """(K, sum of widths) float32 of a file to start from; `word` is one of several in it.

    Raises DoesNotFit, also when it has other than `vectors` rows (None: any number).
    """
    found = side_by_side(embedding_for(file, widths, "word.init_file", folder, word))
    if vectors not in (None, len(found)):
        wanted = f"word.vectors, which is {vectors}; auto takes what is there"
        raise DoesNotFit("word.init_file", folder / file, f"has {len(found)} vectors", wanted)
    return found


def _parts(embedding: Embedding) -> list[Tensor]:
    return [embedding.vectors] if embedding.vectors_g is None else [embedding.vectors, embedding.vectors_g]


def side_by_side(embedding: Embedding) -> Tensor:
    """(K, sum of widths), as the base model's `encode` takes it."""
    return torch.cat(_parts(embedding), dim=1)


def to_embedding(name: str, vectors: Tensor, widths: Sequence[int], metadata: dict[str, str]) -> Embedding:
    """The word of vectors (K, sum of widths), of one encoder or SDXL's two."""
    parts = [part.detach().cpu().float().contiguous() for part in vectors.split(list(widths), dim=1)]
    return Embedding(name, parts[0], metadata, *parts[1:])


def vocabulary_norms(tables: Sequence[Tensor]) -> list[float]:
    """Mean Euclidean norm of each encoder's token embeddings."""
    return [float(table.detach().float().norm(dim=-1).mean()) for table in tables]
