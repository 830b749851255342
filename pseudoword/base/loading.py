"""From a folder or a hub id to the frozen model in memory."""

from pathlib import Path

import diffusers
import torch
import transformers
from diffusers import AutoencoderKL, StableDiffusionPipeline

from pseudoword.base.interface import Base
from pseudoword.base.location import ModelNotFound, first_line, locate
from pseudoword.base.stable_diffusion import StableDiffusion


def load_base(model: str, revision: str | None, device: str, dtype: torch.dtype) -> Base:
    """The whole model, frozen, in evaluation mode; without its safety checker, which judges nothing we draw here."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    folder = locate(model, revision)
    try:
        pipeline = StableDiffusionPipeline.from_pretrained(
            folder, dtype=dtype, variant=_variant(folder), safety_checker=None, requires_safety_checker=False,
            local_files_only=True,
        )  # fmt: skip
    except (OSError, ValueError) as error:
        raise ModelNotFound(model, first_line(error)) from error
    # One picture at a time through the VAE: its memory, not the UNet's, would bound how many are drawn at once.
    pipeline.vae.enable_slicing()
    for part in (pipeline.unet, pipeline.text_encoder, pipeline.vae):
        part.requires_grad_(False).eval()
    return StableDiffusion(pipeline.to(device))


def load_vae(model: str, revision: str | None, device: str) -> AutoencoderKL:
    """The VAE alone, in fp32: half precision overflows in some VAEs, and each picture is encoded only once."""
    folder = locate(model, revision)
    try:
        vae = AutoencoderKL.from_pretrained(
            folder / "vae", torch_dtype=torch.float32, variant=_variant(folder), local_files_only=True
        )
    except (OSError, ValueError) as error:
        raise ModelNotFound(model, first_line(error)) from error
    return vae.requires_grad_(False).eval().to(device)


def _variant(folder: Path) -> str | None:
    """`fp16` for a folder that holds no other weights."""
    names = [path.name for path in (folder / "unet").iterdir() if path.suffix in (".safetensors", ".bin")]
    return "fp16" if names and all(".fp16." in name for name in names) else None
