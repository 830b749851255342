"""The names of the tensors in an embedding file."""

from typing import Literal

from pseudoword.formats.strangers import told_by_keys

# Of the only tensor: the word itself for diffusers, emb_params for InvokeAI, emp_params for OneTrainer.
Key = Literal["word", "emb_params", "emp_params"]
# Keys that other trainers write for every word; the file's name tells which one it is.
NAMELESS = ("emb_params", "emp_params", "*", "clip_l", "clip_g")
SDXL = {"clip_l", "clip_g"}
BUNDLED = "bundle_emb."  # before the keys of a word inside a LoRA file
# As keys these mean something else to one reader or another.
RESERVED = (*NAMELESS, "string_to_param", "__metadata__")


def is_reserved(name: str) -> bool:
    """Whether a file whose only key is `name` would be taken for something else than the word of that name."""
    return name in RESERVED or name.startswith(BUNDLED) or told_by_keys({name}) is not None
