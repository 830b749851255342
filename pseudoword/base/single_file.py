"""Checkpoints of one file in the original layout: what is inside, looked at without running any code of the file."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from pseudoword.base.families import UnknownFamily
from pseudoword.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor, nn

SUFFIXES = (".safetensors", ".ckpt", ".pt")
UNET, VAE = "model.diffusion_model.", "first_stage_model."
VAE_PARTS = ("encoder.", "decoder.", "quant_conv.", "post_quant_conv.", "vae.")
CLIPS = ("cond_stage_model.transformer.", "conditioner.embedders.0.transformer.")  # of Hugging Face
OPEN_CLIPS = ("cond_stage_model.model.", "conditioner.embedders.1.model.")
# What diffusers calls the layouts that are taken.
TAKEN = ("v1", "v2", "inpainting", "inpainting_v2", "xl_base")


class BadCheckpoint(UserError):
    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(
            f"base.model: '{path}' cannot be read as a checkpoint of Stable Diffusion: {reason}. Give a whole model as "
            ".safetensors, or as a .ckpt that holds nothing but tensors; a .ckpt with other objects inside is never "
            "run: convert it to .safetensors where you trust it."
        )


@cache
def outline(path: Path) -> "dict[str, Tensor]":
    """The checkpoint's tensors by name, without their numbers. Raises BadCheckpoint."""
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118 -- no dict
        else:
            shapes = {key: value.shape for key, value in _unpickled(path).items()}
    except (OSError, SafetensorError) as error:
        raise BadCheckpoint(path, str(error)) from None
    return {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}


def _unpickled(path: Path) -> "dict[str, Tensor]":
    import pickle
    import zipfile

    import torch

    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except (pickle.UnpicklingError, EOFError, RuntimeError) as error:
        raise BadCheckpoint(path, f"it holds more than tensors, or is damaged ({str(error).splitlines()[0]})") from None
    while isinstance(content, dict) and "state_dict" in content:
        content = content["state_dict"]
    if not isinstance(content, dict):
        raise BadCheckpoint(path, f"it holds a {type(content).__name__}")
    return {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}


def token_tables(path: Path) -> "list[Tensor]":
    """The token embeddings of each text encoder, (vocabulary, D) float32. Raises BadCheckpoint."""
    from safetensors import safe_open

    names = sorted(name for name in outline(path) if name.endswith("token_embedding.weight"))
    if path.suffix != ".safetensors":
        weights = _unpickled(path)
        return [weights[name].float() for name in names]
    with safe_open(path, framework="pt") as file:
        return [file.get_tensor(name).float() for name in names]


def home_of(path: Path) -> str:
    """The hub id whose configs fit the checkpoint. Raises BadCheckpoint or UnknownFamily."""
    from diffusers.loaders.single_file_utils import fetch_diffusers_config, infer_diffusers_model_type

    found = outline(path)
    layout = infer_diffusers_model_type(found)
    if layout in TAKEN and not _has(path, UNET):
        raise BadCheckpoint(path, f"none of its {len(found)} tensors is named {UNET}*, so it is no whole model")
    if layout not in TAKEN:
        raise UnknownFamily(str(path), f"a checkpoint in the layout {layout}")
    return str(fetch_diffusers_config(found)["pretrained_model_name_or_path"])


def check_complete(path: Path, unet: "nn.Module", encoders: "list[nn.Module]") -> None:
    """Raises BadCheckpoint where the file has fewer tensors than the model: diffusers leaves the rest at random."""
    _check(path, (UNET,), [unet], "UNet")
    _check(path, (*CLIPS, *OPEN_CLIPS), encoders, "text encoders")


def check_vae(path: Path, vae: "nn.Module") -> None:
    """The same of the VAE, in a whole model or in a file of its own."""
    _check(path, (VAE,) if _has(path, VAE) else VAE_PARTS, [vae], "VAE")


def check_has_vae(path: Path) -> None:
    """Raises BadCheckpoint for a whole model without a VAE, as they are also handed about."""
    if _has(path, UNET) and not _has(path, VAE):
        raise BadCheckpoint(path, "it holds no VAE; name one in base.vae")


def _has(path: Path, prefix: str) -> bool:
    return any(name.startswith(prefix) for name in outline(path))


def _check(path: Path, prefixes: tuple[str, ...], parts: "list[nn.Module]", what: str) -> None:
    # OpenCLIP keeps the projections of query, key and value in one tensor.
    held = sum(3 if ".in_proj_" in name else 1 for name in outline(path) if name.startswith(prefixes))
    wanted = sum(len(part.state_dict()) for part in parts)
    if held < wanted:
        raise BadCheckpoint(path, f"it holds {held} of the {wanted} tensors of the {what}")
