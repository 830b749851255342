"""vae: AutoencoderKL, 8 px a latent, 4 channels; decoder: then its decoder alone, against the frozen encoder.

usage   python -m toyworld.vae vae
        python -m toyworld.vae decoder [MODEL STEPS]    go on from the decoder of a packed model
reads   build/pictures/train.npy
writes  build/vae_encoder/   by vae: the encoder, and so the latents, are final
        build/vae/           by decoder: the same with the better decoder
"""

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from toyworld import BUILD, stage_arguments, stage_params, state_file
from toyworld.pictures import load_pictures, to_unit
from toyworld.training import DEVICE, fit, keyed

KL_WEIGHT = 1e-6
HALF = torch.autocast(DEVICE.type, torch.bfloat16, enabled=DEVICE.type == "cuda")  # few CPUs have units for it
EDGE_WEIGHT = 0.5


def build(channels: list[int], resolution: int) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=tuple(channels),
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        layers_per_block=1,
        norm_num_groups=8,
        latent_channels=4,
        mid_block_add_attention=False,
        sample_size=resolution,
    )


def reconstruction_loss(made: Tensor, true: Tensor) -> Tensor:
    """L1, squared error and the difference of neighbouring pixels: sharp edges at a good PSNR."""
    edges = sum((made.diff(dim=dim) - true.diff(dim=dim)).abs().mean() for dim in (2, 3))
    total: Tensor = (made - true).abs().mean() + 2 * F.mse_loss(made, true) + EDGE_WEIGHT * edges
    return total


def psnr(made: Tensor, true: Tensor) -> float:
    """Peak signal-to-noise ratio in dB over a batch of pictures in [-1, 1], mean of the pictures' own."""
    error = (made.clamp(-1, 1) - true).square().mean((1, 2, 3))
    return float((10 * torch.log10(4 / error)).mean())


def sharp_loss(made: Tensor, true: Tensor) -> Tensor:
    """PSNR itself, and the difference of neighbouring pixels: what is left to gain when the latents are settled."""
    edges = sum((made.diff(dim=dim) - true.diff(dim=dim)).abs().mean() for dim in (2, 3))
    total: Tensor = 0.1 * torch.log((made - true).square().mean((1, 2, 3))).mean() + EDGE_WEIGHT * edges
    return total


@dataclass(frozen=True)
class Pictures:
    """What both parts train on and are measured with."""

    train: Tensor  # (N, 3, H, W) uint8
    check: Tensor  # (128, 3, H, W) in [-1, 1]

    def batch(self, number: int, stream: int, step: int) -> Tensor:
        """(number, 3, H, W) in [-1, 1]: a function of stream and step; every second one mirrored."""
        index = torch.randint(len(self.train), (number,), generator=keyed(stream, step))
        mirrored = torch.rand(number, generator=keyed(stream, step, 1)) < 0.5
        chosen = to_unit(self.train[index])
        return torch.where(mirrored[:, None, None, None], chosen.flip(3), chosen).to(DEVICE)

    @torch.no_grad()
    def quality(self, vae: AutoencoderKL) -> str:
        with HALF:
            made = vae.decode(vae.encode(self.check).latent_dist.mode()).sample.float()
        return f"psnr {psnr(made, self.check):.2f} dB"


def load() -> Pictures:
    return Pictures(load_pictures("train"), to_unit(load_pictures("check")[:128]).to(DEVICE))


def train_whole(folder: Path, channels: list[int], steps: int, batch: int, learn_rate: float) -> None:
    pictures = load()
    torch.manual_seed(0)
    vae = build(channels, pictures.train.shape[-1]).to(DEVICE)

    def loss(step: int) -> Tensor:
        true = pictures.batch(batch, 0, step)
        with HALF:
            posterior = vae.encode(true).latent_dist
            made = vae.decode(posterior.sample()).sample
        divergence: Tensor = posterior.kl().mean() / math.prod(posterior.mean.shape[1:])
        return reconstruction_loss(made.float(), true) + KL_WEIGHT * divergence

    fit("vae", vae, loss, state_file("vae"), learn_rate, steps, report=lambda step: pictures.quality(vae))
    with torch.no_grad():
        parts = [vae.encode(to_unit(part).to(DEVICE)).latent_dist.mean for part in pictures.train[:2048].split(64)]
    vae.register_to_config(scaling_factor=1 / float(torch.cat(parts).std()))
    vae.save_pretrained(folder)


def train_decoder(
    folder: Path, begun: Path | None, steps: int, batch: int, learn_rate: float, matrix_rate: float
) -> None:
    pictures = load()
    vae = AutoencoderKL.from_pretrained(begun / "vae" if begun else BUILD / "vae_encoder", torch_dtype=torch.float32)
    vae = vae.to(DEVICE, memory_format=torch.channels_last)
    for part in (vae.encoder, vae.quant_conv):
        part.requires_grad_(False)

    def loss(step: int) -> Tensor:
        true = pictures.batch(batch, 1, step)
        with HALF:
            with torch.no_grad():
                latents = vae.encode(true).latent_dist.mode()
            made = vae.decode(latents).sample
        return sharp_loss(made.float(), true)

    fit("decoder", vae, loss, state_file("decoder", begun, steps), learn_rate, steps, matrix_rate=matrix_rate,
        report=lambda step: pictures.quality(vae))  # fmt: skip
    vae.save_pretrained(folder)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["vae"]:
            train_whole(BUILD / "vae_encoder", **stage_params("vae"))
        case ["decoder", *going_on]:
            train_decoder(BUILD / "vae", **stage_arguments("decoder", going_on))
        case _:
            raise SystemExit("usage: python -m toyworld.vae vae | decoder [MODEL STEPS]")
