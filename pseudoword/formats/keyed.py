"""Tensors under keys, whatever file they came in: one key that is the word, or `clip_l` and `clip_g` of SDXL."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from pseudoword.errors import UserError
from pseudoword.formats.embedding import BadEmbedding, Embedding, check_shape, checked, name_of
from pseudoword.formats.keys import SDXL, Key, is_reserved
from pseudoword.formats.strangers import told_by_keys


class ReservedName(UserError):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"'{name}' cannot be the name of a word: to other tools it is a mark of the format. Choose another."
        )


def from_keyed(tensors: Mapping[object, object], path: Path) -> Embedding:
    """An embedding of the only tensor, or of SDXL's two. Raises BadEmbedding for any other content."""
    if what := told_by_keys(tensors.keys()):
        raise BadEmbedding(path, what)
    if set(tensors) == SDXL:
        return _of_pair(tensors["clip_l"], tensors["clip_g"], path)
    if len(tensors) != 1:
        raise BadEmbedding(path, f"it holds {len(tensors)} entries under the keys {sorted(map(repr, tensors))[:5]}")
    ((key, tensor),) = tensors.items()
    if not isinstance(key, str):
        raise BadEmbedding(path, f"its only key is a {type(key).__name__}, not text")
    name = name_of(key.encode(errors="replace").decode(), path)  # no halves of a character, which nothing can write
    return Embedding(name, vectors_of(tensor, path), {})


def _of_pair(clip_l: object, clip_g: object, path: Path) -> Embedding:
    vectors, vectors_g = vectors_of(clip_l, path), vectors_of(clip_g, path)
    if len(vectors) != len(vectors_g):
        raise BadEmbedding(path, f"clip_l has {len(vectors)} vectors and clip_g {len(vectors_g)}")
    return Embedding(path.stem, vectors, {}, vectors_g)


def vectors_of(value: object, path: Path) -> Tensor:
    """(K, D) float32 of whatever a file holds where a plain tensor should be. Raises BadEmbedding."""
    if not isinstance(value, Tensor):
        raise BadEmbedding(path, f"it holds a {type(value).__name__} in the place of its tensor")
    if value.layout != torch.strided or value.is_quantized or value.device.type != "cpu":
        raise BadEmbedding(path, "its tensor is not a plain one")
    check_shape(value.shape, path)
    # A copy of its own: the tensor may be a view of something larger, or a parameter with gradient.
    return checked(value.detach(), path).clone(memory_format=torch.contiguous_format)


def to_keyed(embedding: Embedding, key: Key = "word") -> dict[str, Tensor]:
    """Files for diffusers: one key that is the word, or SDXL's two, where the file's name is the word.

    Another `key` than the word is for InvokeAI (emb_params) and OneTrainer (emp_params): there too the file's name is
    the word. SDXL's keys are the same for all.
    """
    if embedding.vectors_g is not None:
        return {"clip_l": embedding.vectors, "clip_g": embedding.vectors_g}
    if key == "word":
        check_key(embedding.name)
    return {embedding.name if key == "word" else key: embedding.vectors}


def check_key(name: str) -> None:
    """Raise ReservedName when `name` is empty or a mark of some format."""
    if not name or is_reserved(name):
        raise ReservedName(name)
