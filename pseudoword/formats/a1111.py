"""The file of a word as A1111 writes it: a dict of six keys, pickled as `.pt` or as JSON inside a picture.

    string_to_token     {"*": 265}, always
    string_to_param     {"*": (K, D) float32}; very old files hold a ParameterDict
    name, step          what it was trained as, updates done
    sd_checkpoint       first 10 hex digits of the base model's SHA-256, or None
    sd_checkpoint_name  its path without the extension, `_` for each slash, or None

A seventh key, `metadata`, carries what else we know; other readers pass over it. For SDXL the dict is `clip_l` and
`clip_g` alone, because A1111 takes every entry of such a dict for a tensor.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pseudoword.formats.embedding import BadEmbedding, Embedding
from pseudoword.formats.keyed import check_key, from_keyed, to_keyed, vectors_of
from pseudoword.formats.keys import Key
from pseudoword.formats.pickled import ParameterDict, load_pickled, save_pickled
from pseudoword.formats.strangers import HYPERNETWORK, is_hypernetwork

ASTERISK = 265  # the id of "*" in CLIP's vocabulary
TRAINING = ("step", "sd_checkpoint", "sd_checkpoint_name")
MAX_DIGITS = 18
SHORT_HASH = 10  # hex digits
MODEL_FILE = re.compile(r"\.(safetensors|ckpt|pt)$")


def load_pt(path: Path) -> Embedding:
    """Read a `.pt` or `.bin` of A1111, of the original textual inversion or of diffusers. Raises BadEmbedding."""
    return from_content(load_pickled(path), path)


def save_pt(path: Path, embedding: Embedding) -> None:
    """Write what every version of A1111 reads; equal content gives equal bytes."""
    save_pickled(path, to_content(embedding))


def save_bin(path: Path, embedding: Embedding, key: Key = "word") -> None:
    """Write diffusers' older file: the tensor under a key. It has no room for metadata."""
    save_pickled(path, to_keyed(embedding, key))


def from_content(content: object, path: Path) -> Embedding:
    """An embedding of A1111's dict, of one tensor under one key, or of SDXL's two. Raises BadEmbedding."""
    if not isinstance(content, dict):
        raise BadEmbedding(path, f"it holds a {type(content).__name__}, not a dict")
    if is_hypernetwork(content):
        raise BadEmbedding(path, HYPERNETWORK)
    if "string_to_param" not in content:
        return from_keyed(content, path)
    name = plain_text(content.get("name")) or path.stem
    vectors = vectors_of(_only_parameter(content["string_to_param"], path), path)
    return Embedding(name, vectors, metadata_of(content, TRAINING))


def _only_parameter(parameters: object, path: Path) -> object:
    if isinstance(parameters, ParameterDict):
        parameters = parameters.parameters
    if not isinstance(parameters, dict):
        raise BadEmbedding(path, f"string_to_param is a {type(parameters).__name__}, not a dict")
    if len(parameters) != 1:
        raise BadEmbedding(path, f"string_to_param holds {len(parameters)} tensors")
    return next(iter(parameters.values()))


def metadata_of(content: Mapping[object, object], keys: Sequence[str]) -> dict[str, str]:
    """The entry `metadata` of a pickled dict, and beside it those of `keys` that are text or numbers."""
    more = content.get("metadata")
    stated = dict(more) if isinstance(more, dict) else {}
    stated |= {key: content[key] for key in keys if key in content}
    texts = {plain_text(key): plain_text(value) for key, value in stated.items()}
    return {key: text for key, text in texts.items() if key is not None and text is not None}


def plain_text(value: object) -> str | None:
    """Text or a number as text that can be written anywhere; nothing for anything else."""
    if isinstance(value, int) and abs(value) < 10**MAX_DIGITS:
        return str(value)
    # A pickle and JSON can hold halves of a character, which no encoding can write.
    return value.encode(errors="replace").decode() if isinstance(value, str) else None


def to_content(embedding: Embedding) -> dict[str, object]:
    """The dict, with plain float32 tensors on the CPU."""
    if embedding.vectors_g is not None:
        return dict(to_keyed(embedding))
    check_key(embedding.name)
    content: dict[str, object] = {
        "string_to_token": {"*": ASTERISK},
        "string_to_param": {"*": embedding.vectors.detach().float().cpu().clone()},
        "name": embedding.name,
        **training_entries(embedding.metadata),
    }
    more = {key: value for key, value in embedding.metadata.items() if key not in TRAINING}
    return content | ({"metadata": more} if more else {})


def training_entries(metadata: Mapping[str, str]) -> dict[str, int | str | None]:
    """The values of TRAINING, from their own keys or from ours."""
    base = metadata.get("sd_checkpoint_name") or metadata.get("pseudoword.base_model")
    sha = metadata.get("pseudoword.base_sha256")
    return {
        "step": _count(metadata.get("step") or metadata.get("pseudoword.step", "")),
        "sd_checkpoint": metadata.get("sd_checkpoint") or (sha and sha[:SHORT_HASH]),
        "sd_checkpoint_name": base and MODEL_FILE.sub("", base).replace("/", "_").replace("\\", "_"),
    }


def _count(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) <= MAX_DIGITS else 0
