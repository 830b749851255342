"""Pictures through the VAE, in batches of one shape."""

from collections.abc import Iterator

import torch
from diffusers import AutoencoderKL
from torch import Tensor

from pseudoword.errors import UserError
from stages.latents.prepared import PreparedPicture

MAX_BATCH = 4
MAX_BATCH_PX = MAX_BATCH * 256 * 256  # four pictures of 256 px, one of 512: a larger one fills a GPU by itself


class NotFinite(UserError):
    def __init__(self, names: list[str], precision: torch.dtype) -> None:
        way = "Set latents.precision to fp32." if precision != torch.float32 else "Its weights may be broken."
        super().__init__(
            f"the VAE of base.model gives infinite or undefined numbers for {', '.join(names)} in {precision}. {way}"
        )


def prepare(vae: AutoencoderKL, precision: str, tile: int) -> AutoencoderKL:
    """The VAE in fp32 or bf16, cutting pictures with a side longer than `tile` px into overlapping tiles."""
    if precision == "bf16":
        vae = vae.bfloat16()
    # Else a GPU rounds the factors of its fp32 convolutions to 10 bits, three more than bf16 has.
    torch.backends.cudnn.allow_tf32 = False
    vae.enable_tiling()
    vae.tile_sample_min_size = tile
    vae.tile_latent_min_size = tile // 2 ** (len(vae.config.block_out_channels) - 1)
    return vae


def batch_for(width: int, height: int) -> int:
    """How many pictures of this shape go through the VAE at once."""
    return max(1, min(MAX_BATCH, MAX_BATCH_PX // (width * height)))


def batches(sources: list[PreparedPicture]) -> Iterator[list[PreparedPicture]]:
    """In batches of one shape, each as long as `batch_for` lets it."""
    for shape in sorted({source.shape for source in sources}):
        alike = [source for source in sources if source.shape == shape]
        step = batch_for(*shape)
        yield from (alike[start : start + step] for start in range(0, len(alike), step))


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """(n, 3, H, W) in [-1, 1] -> mean and standard deviation, (n, C, h, w) float32 each, in the UNet's units.

    A batch is filled up to the length for its shape: torch picks its convolutions by the batch's shape, so a picture
    alone would not get the bits that it gets among others.
    """
    scale, shift = vae.config.scaling_factor, vae.config.get("shift_factor") or 0.0
    number, full = len(pictures), batch_for(pictures.shape[3], pictures.shape[2])
    filled = torch.cat([pictures, pictures[-1:].expand(full - number, -1, -1, -1)])
    posterior = vae.encode(filled.to(vae.device, vae.dtype)).latent_dist
    mean = (posterior.mean[:number].float().cpu() - shift) * scale
    # From the logarithm, so that a VAE of half precision does not round the standard deviation once more.
    std = (0.5 * posterior.logvar[:number].float().cpu()).exp() * scale
    return mean, std
