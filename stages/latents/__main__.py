"""latents: each picture's VAE posterior, mean and standard deviation, never one frozen draw.

reads   outputs/pictures/<id>.png, outputs/pictures.csv
writes  outputs/latents.safetensors   mean, std (N, C, h, w) float32 in the UNet's units; metadata ids (JSON), model
"""

import json

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from tqdm import tqdm

from pseudoword.base.loading import load_vae
from pseudoword.base.placement import resolve_device
from pseudoword.formats.tensors import save_tensors
from pseudoword.latents import LATENTS
from pseudoword.pictures import read_pictures, used_ids
from pseudoword.settings import load_settings
from stages._runtime import alone_on, run_stage

BATCH = 4


@torch.no_grad()
def encode(vae: AutoencoderKL, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 3, H, W) in [-1, 1] -> mean and standard deviation, (N, C, H/8, W/8) float32 each, in the UNet's units."""
    scale, shift = vae.config.scaling_factor, vae.config.get("shift_factor") or 0.0
    means, stds = [], []
    for part in tqdm(pictures.split(BATCH), desc="latents", unit="batch", mininterval=1):
        posterior = vae.encode(part.to(vae.device)).latent_dist
        means.append((posterior.mean.cpu() - shift) * scale)
        stds.append(posterior.std.cpu() * scale)
    return torch.cat(means).contiguous(), torch.cat(stds).contiguous()


def main() -> None:
    settings = load_settings()
    device = resolve_device(settings.base.device)
    ids = used_ids()
    with alone_on(device):
        vae = load_vae(settings.base.model, settings.base.revision, device)
        mean, std = encode(vae, read_pictures(ids))
    metadata = {"ids": json.dumps(ids), "model": settings.base.model}
    save_tensors(LATENTS, {"mean": mean, "std": std}, metadata)
    shape = "x".join(map(str, mean.shape[1:]))
    print(f"{len(ids)} pictures as latents of {shape}, {LATENTS.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    run_stage(main)
