"""outputs/latents: the VAE's posterior of each picture, as `latents` writes it and the stages after it read it.

A folder of few shards, in which each picture has a `<id>.mean`, `<id>.std` and perhaps `<id>.weight`, and an index.json
that says what they were made of and holds the SHA-256 of each shard: a folder that is not whole is refused.

    latents = read_latents()
    for group in latents.groups:      # the pictures of one shape
        group.mean[0]                 # belongs to latents.ids[group.rows[0]]
"""

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from pseudoword.base.hub import OtherModel
from pseudoword.errors import UserError
from pseudoword.files import sha256_of, write_text
from pseudoword.formats.tensors import save_tensors

LATENTS = Path("outputs/latents")
INDEX = "index.json"  # below the folder; names every shard by its content, so it stands for all of them
FORMAT = 1
SHARD_BYTES = 256 * 2**20


class Encoded(NamedTuple):
    """One picture on its way to the folder."""

    name: str  # its id
    picture: str  # SHA-256 of the picture's file
    mean: Tensor  # (C, h, w) float32, UNet units
    std: Tensor  # (C, h, w) float32
    weight: Tensor | None = None  # (1, h, w) float32 of mean 1; None is all ones


class Group(NamedTuple):
    """The pictures of one latent shape, n of them."""

    rows: list[int]  # their places in Latents.ids
    mean: Tensor  # (n, C, h, w) float32, UNet units
    std: Tensor  # (n, C, h, w) float32
    weight: Tensor  # (n, 1, h, w) float32, loss weight, mean 1 for each picture


class Latents(NamedTuple):
    ids: list[str]  # in the order of `used_ids`
    groups: list[Group]  # sorted by (h, w)


class BadLatents(UserError):
    def __init__(self, path: Path, found: str) -> None:
        super().__init__(f"{path}: {found}. Run `dvc repro latents` to make it again.")


class OtherVae(OtherModel):
    def __init__(self, folder: Path, made_with: str, commit: str, found: str | None) -> None:
        made = f"{folder}: made with a VAE of '{made_with}' that is not what base.model or base.vae has now"
        where = "base.revision (for a base.vae write it as id@commit)"
        super().__init__(made, commit, found, where, "latents")


def write_latents(pictures: Iterable[Encoded], about: dict[str, str], folder: Path = LATENTS) -> int:
    """Write a stream of pictures and what they were made with; at most one shard is held in memory.

    Replaces `folder`, whose index comes last: until then it does not read. Returns the bytes that it takes once read.
    """
    shutil.rmtree(folder, ignore_errors=True)
    index: dict[str, Any] = {"format": FORMAT, **about, "shards": {}, "pictures": []}
    shard: dict[str, Tensor] = {}
    resident = 0
    for encoded in pictures:
        kinds = {"mean": encoded.mean, "std": encoded.std, "weight": encoded.weight}
        # Copies: safetensors refuses tensors that share memory, and a row of a batch would keep all of it alive.
        own = {f"{encoded.name}.{kind}": tensor.clone() for kind, tensor in kinds.items() if tensor is not None}
        if shard and _bytes(shard) + _bytes(own) > SHARD_BYTES:
            _write_shard(folder, shard, index)
            shard = {}
        shard |= own
        resident += encoded.mean.nbytes + encoded.std.nbytes + encoded.mean[:1].nbytes
        index["pictures"].append({"id": encoded.name, "sha256": encoded.picture})
    _write_shard(folder, shard, index)
    write_text(folder / INDEX, json.dumps(index, indent=1) + "\n")
    return resident


def _bytes(tensors: dict[str, Tensor]) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())


def _write_shard(folder: Path, tensors: dict[str, Tensor], index: dict[str, Any]) -> None:
    path = folder / f"shard-{len(index['shards']):03d}.safetensors"
    save_tensors(path, tensors, {})
    index["shards"][path.name] = sha256_of(path)


def read_latents(folder: Path = LATENTS) -> Latents:
    """All pictures, checked against the index. Raises BadLatents for what is missing, cut off, changed or foreign."""
    index = _read_index(folder)
    tensors: dict[str, Tensor] = {}
    for name, digest in index["shards"].items():
        tensors |= _read_shard(folder / name, digest)
    ids = [str(picture["id"]) for picture in index["pictures"]]
    stored = {key.rpartition(".")[0] for key in tensors}
    if sorted(stored) != sorted(ids):
        others = " others" if len(stored) == len(ids) else ""
        raise BadLatents(folder, f"{INDEX} lists {len(ids)} pictures, the shards hold {len(stored)}{others}")
    by_shape: dict[tuple[int, int], list[int]] = {}
    for row, name in enumerate(ids):
        height, width = tensors[f"{name}.mean"].shape[1:]
        by_shape.setdefault((height, width), []).append(row)
    return Latents(ids, [_group(tensors, ids, by_shape[shape]) for shape in sorted(by_shape)])


def check_vae(sha256: str, commit: str | None, folder: Path = LATENTS) -> None:
    """Raises OtherVae unless the latents were made with the VAE of this digest; `commit` is where it is now."""
    index = _read_index(folder)
    if index.get("vae", sha256) != sha256:
        raise OtherVae(folder, index.get("model", ""), index.get("commit", ""), commit)


def latents_digest(folder: Path = LATENTS) -> str:
    """SHA-256 of the index, which names each shard by its content."""
    return sha256_of(folder / INDEX)


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    try:
        index: dict[str, Any] = json.loads(path.read_text())
        if index["format"] != FORMAT:
            raise BadLatents(path, f"is of format {index['format']}, this version reads {FORMAT}")
        listed, there = sorted(index["shards"]), sorted(shard.name for shard in folder.glob("*.safetensors"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadLatents(path, f"cannot be read ({error})") from None
    if listed != there:
        raise BadLatents(folder, f"{INDEX} lists {len(listed)} shards, the folder holds {len(there)} ({there})")
    return index


def _read_shard(path: Path, digest: str) -> dict[str, Tensor]:
    try:
        content = path.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found != digest:
            raise BadLatents(path, f"its SHA-256 is {found[:12]}..., {INDEX} says {digest[:12]}...")
        tensors: dict[str, Tensor] = load(content)
        return tensors
    except (OSError, SafetensorError) as error:
        raise BadLatents(path, f"cannot be read ({error})") from None


def _group(tensors: dict[str, Tensor], ids: list[str], rows: list[int]) -> Group:
    names = [ids[row] for row in rows]
    mean, std = (torch.stack([tensors[f"{name}.{kind}"] for name in names]) for kind in ("mean", "std"))
    ones = torch.ones(1, *mean.shape[2:])
    return Group(rows, mean, std, torch.stack([tensors.get(f"{name}.weight", ones) for name in names]))
