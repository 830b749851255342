"""A learned word as a file: one float32 tensor (K, D) under a key that is the word.

K vectors, D width of the text encoder's token embeddings. diffusers takes the token from the key; A1111 and ComfyUI
accept any single key and take the trigger from the file's name.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from pseudoword.errors import UserError
from pseudoword.formats.keys import NAMELESS
from pseudoword.formats.strangers import told_by_keys
from pseudoword.formats.tensors import save_tensors

# Seventy-five vectors of the widest encoders are far below; a tensor of stride 0 can claim any shape in few bytes.
MAX_NUMBERS = 2**24
# safetensors' names of the number formats that become float32 with the value that was written.
NUMBER_FORMATS = ("F64", "F32", "F16", "BF16", "F8_E5M2", "F8_E4M3")


class BadEmbedding(UserError):
    def __init__(self, path: Path, found: str) -> None:
        self.found = found
        super().__init__(
            f"{path} is not an embedding file: {found}. Wanted: a file with one floating-point tensor (vectors, width) "
            "of finite numbers, such as diffusers, A1111 and this project write."
        )


@dataclass(frozen=True, eq=False)
class Embedding:
    """`name` and `metadata` are text from a file: never make a path or HTML of them unchecked."""

    name: str
    vectors: Tensor  # (K, D) float32, CPU, finite
    metadata: dict[str, str]
    vectors_g: Tensor | None = None  # (K, width of its second text encoder), only for SDXL


def save_embedding(path: Path, name: str, vectors: Tensor, metadata: dict[str, str]) -> None:
    """Write `vectors` (K, D) atomically as float32 under the key `name`; equal content gives equal bytes."""
    assert vectors.ndim == 2, f"vectors are {tuple(vectors.shape)}, not (K, D)"
    save_tensors(path, {name: vectors.float()}, metadata)


def load_embedding(path: Path) -> Embedding:
    """Read our own file or any other with a single tensor, (K, D) or (D,), of any floating-point type.

    Raises BadEmbedding for everything else: not safetensors, truncated, several tensors, NaN.
    """
    try:
        with safe_open(path, framework="pt") as file:
            key = _only(list(file.keys()), path)
            vectors, metadata = stored_tensor(file, key, path), dict(file.metadata() or {})
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except (SafetensorError, OSError) as error:
        raise unreadable(path, error) from None
    return Embedding(name_of(key, path), checked(vectors, path), metadata)


def stored_tensor(file: Any, key: str, path: Path) -> Tensor:
    """One tensor of an open safetensors `file`, refused by the header alone where it cannot be a word's."""
    stored = file.get_slice(key)
    check_shape(stored.get_shape(), path)
    if (number_format := stored.get_dtype()) not in NUMBER_FORMATS:
        raise BadEmbedding(path, f"its numbers are {number_format}, wanted one of {', '.join(NUMBER_FORMATS)}")
    tensor: Tensor = file.get_tensor(key)
    return tensor


def unreadable(path: Path, error: Exception) -> BadEmbedding:
    """For what safetensors says of a file: its words are those of its parser, and long."""
    text = str(error)
    if unknown := re.search("unknown variant `(.*?)`", text):
        return BadEmbedding(path, f"its numbers are {unknown[1]}, wanted one of {', '.join(NUMBER_FORMATS)}")
    if "incomplete metadata" in text or "invalid header length" in text:
        return BadEmbedding(path, "it is cut off or damaged")
    return BadEmbedding(path, f"it cannot be read ({text})")


def _only(keys: list[str], path: Path) -> str:
    if what := told_by_keys(keys):
        raise BadEmbedding(path, what)
    if len(keys) != 1:
        raise BadEmbedding(path, f"it holds {len(keys)} tensors{', such as ' + repr(sorted(keys)[0]) if keys else ''}")
    return keys[0]


def name_of(key: str, path: Path) -> str:
    return path.stem if key in NAMELESS else key


def check_shape(shape: Sequence[int], path: Path) -> None:
    """Refuse what cannot be (K, D) or (D,), by its header alone: a whole model is refused without loading it."""
    if len(shape) not in (1, 2) or 0 in shape or math.prod(shape) > MAX_NUMBERS:
        raise BadEmbedding(path, f"its tensor has the shape {tuple(shape)}")


def checked(vectors: Tensor, path: Path) -> Tensor:
    """`vectors`, (K, D) or (D,) of a shape that passed, as (K, D) float32. Raises BadEmbedding for NaN and integers."""
    if not vectors.is_floating_point():
        raise BadEmbedding(path, f"its numbers are {str(vectors.dtype).removeprefix('torch.')}")
    vectors = vectors.float().reshape(-1, vectors.shape[-1])
    if not vectors.isfinite().all():
        raise BadEmbedding(path, "it holds NaN or infinite numbers")
    return vectors
