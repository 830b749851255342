"""The names of the tensors in an embedding file."""

from typing import Literal

# Of the only tensor: the word itself for diffusers, emb_params for InvokeAI, emp_params for OneTrainer.
Key = Literal["word", "emb_params", "emp_params"]
# Keys that other trainers write for every word; the file's name tells which one it is.
NAMELESS = ("emb_params", "emp_params", "*", "clip_l", "clip_g")
SDXL = {"clip_l", "clip_g"}
BUNDLED = "bundle_emb."  # before the keys of a word inside a LoRA file
# As keys these mean something else to one reader or another.
RESERVED = (*NAMELESS, "string_to_param", "__metadata__")
