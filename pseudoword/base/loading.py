"""From a folder, a hub id or a checkpoint file to the frozen model in memory."""

from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import (
    AutoencoderKL,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from diffusers.loaders.single_file_utils import SingleFileComponentError
from torch import nn

from pseudoword.base.attention import set_attention
from pseudoword.base.hub import UNREADABLE, first_line, weights_of
from pseudoword.base.identity import ModelIdentity
from pseudoword.base.inpainting import Inpainting
from pseudoword.base.interface import Base
from pseudoword.base.location import ModelNotFound, NoVae, read_config
from pseudoword.base.sdxl import StableDiffusionXL
from pseudoword.base.single_file import BadCheckpoint, check_complete, check_has_vae, check_vae, outline
from pseudoword.base.stable_diffusion import StableDiffusion
from pseudoword.errors import UserError, is_out_of_memory

FAMILIES: dict[str, tuple[Any, type[StableDiffusion | StableDiffusionXL]]] = {
    "sd1": (StableDiffusionPipeline, StableDiffusion),
    "sd2": (StableDiffusionPipeline, StableDiffusion),
    "sd1-inpainting": (StableDiffusionInpaintPipeline, Inpainting),
    "sd2-inpainting": (StableDiffusionInpaintPipeline, Inpainting),
    "sdxl": (StableDiffusionXLPipeline, StableDiffusionXL),
}
# Parts that judge, mark or steer by pictures, and none of which we use.
UNUSED: dict[str, Any] = {"feature_extractor": None, "image_encoder": None}
UNUSED_SDXL = UNUSED | {"add_watermarker": False}
UNUSED_SD = UNUSED | {"safety_checker": None, "requires_safety_checker": False}


def load_base(
    model: ModelIdentity, device: str, dtype: torch.dtype, clip_skip: int = 0, attention: str = "auto"
) -> Base:
    """The whole model, frozen, in evaluation mode.

    clip_skip  layers of the text encoders to leave out at the end
    attention  auto | sdpa | sliced | xformers

    Raises UserErrors that name the key of `base`.
    """
    place, folder = model.place, model.configs
    pipeline_type, base_type = FAMILIES[model.family]
    options = (UNUSED_SDXL if model.family == "sdxl" else UNUSED_SD) | {"dtype": dtype, "local_files_only": True}
    options["vae"] = _in_precision(load_vae(model, "cpu"), dtype)
    if place.is_dir():
        pipeline = _reading(model.name, pipeline_type.from_pretrained, place, variant=_variant(place), **options)
        for name in ("unet", "text_encoder", "text_encoder_2"):
            if (part := getattr(pipeline, name, None)) is not None:
                _check_whole(place / name, part)
    else:
        pipeline = _read_file(place, pipeline_type, folder, options)
    for part in (pipeline.unet, pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None), pipeline.vae):
        if part is not None:
            part.requires_grad_(False).eval()
    set_attention(pipeline.unet, attention)
    return base_type(pipeline.to(device), clip_skip)


def load_vae(model: ModelIdentity, device: str) -> AutoencoderKL:
    """The VAE alone, in fp32: half precision overflows in some VAEs, and each picture is encoded only once."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    place, folder = model.vae_place, model.configs
    options = {"torch_dtype": torch.float32, "local_files_only": True}
    try:
        if place.is_file():
            check_has_vae(place)  # and refuses a pickle with anything but tensors
            # "config" is the base model's: the file has none, and the scale of the latents must be that of the UNet.
            loaded = AutoencoderKL.from_single_file(str(place), config=str(folder), subfolder="vae", **options)
            check_vae(place, loaded)
        else:
            loaded = _reading(model.name, AutoencoderKL.from_pretrained, place, variant=_variant(place), **options)
            _check_whole(place, loaded)
        _check_fit(loaded, folder)
    # One's own VAE that cannot be read is a mistake in base.vae, whatever is wrong with it.
    except (UserError, SingleFileComponentError, OSError, ValueError, RuntimeError, KeyError) as error:
        if is_out_of_memory(error):
            raise
        if model.vae:
            raise NoVae(model.vae, first_line(error)) from error
        if isinstance(error, UserError):
            raise
        raise BadCheckpoint(place, first_line(error)) from error
    return loaded.requires_grad_(False).eval().to(device)


def _check_whole(folder: Path, part: nn.Module) -> None:
    """Raises BadCheckpoint where a part's files have fewer tensors than it: the libraries leave the rest at random."""
    files = [folder.absolute() / name for name in weights_of(path.name for path in folder.iterdir())]
    held = {name for file in files for name in outline(file)}
    held = {name for name in held if not name.endswith("position_ids")}  # counts up, and is no weight
    wanted = len(part.state_dict())
    if len(held) < wanted:
        raise BadCheckpoint(folder, f"it holds {len(held)} of the {wanted} tensors of the {type(part).__name__}")


def _check_fit(vae: AutoencoderKL, folder: Path) -> None:
    wanted = read_config(folder, "unet/config.json").get("out_channels", 4)
    if vae.config.latent_channels != wanted:
        raise ValueError(f"its latents have {vae.config.latent_channels} channels, the UNet wants {wanted}")


def _reading(model: str, read: Any, *places: Path, **options: Any) -> Any:
    try:
        return read(*places, **options)
    except UNREADABLE as error:
        if is_out_of_memory(error):
            raise
        raise ModelNotFound(model, first_line(error)) from error


def _read_file(place: Path, pipeline_type: Any, folder: Path, options: dict[str, Any]) -> Any:
    outline(place)  # refuses a pickle with anything but tensors
    try:
        pipeline = pipeline_type.from_single_file(str(place), config=str(folder), **options)
    except (SingleFileComponentError, OSError, ValueError, RuntimeError, KeyError) as error:
        if is_out_of_memory(error):
            raise
        raise BadCheckpoint(place, f"with the configs of {folder}: {first_line(error)}") from error
    encoders = [pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)]
    check_complete(place, pipeline.unet, [encoder for encoder in encoders if encoder is not None])
    return pipeline


def _in_precision(vae: AutoencoderKL, dtype: torch.dtype) -> AutoencoderKL:
    """In the model's precision, but in fp32 where fp16 would overflow (that of SDXL does, unless it says otherwise)."""
    # One picture at a time through the VAE: its memory, not the UNet's, would bound how many are drawn at once.
    vae.enable_slicing()
    return vae.to(torch.float32 if dtype is torch.float16 and vae.config.force_upcast else dtype)


def _variant(folder: Path) -> str | None:
    """`fp16` for a folder that holds no other weights to read."""
    weights = folder / "unet" if (folder / "unet").is_dir() else folder
    chosen = weights_of(path.name for path in weights.iterdir())
    return "fp16" if chosen and ".fp16" in chosen[0] else None
