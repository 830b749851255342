"""unet: epsilon prediction on the VAE's latents, conditioned by the frozen text encoder of `clip`.

usage   python -m toyworld.unet [MODEL STEPS]    go on from the UNet of a packed model, under its VAE and text encoder
reads   build/pictures/, build/tokenizer/, build/clip/, build/vae_encoder/
writes  build/unet/, build/scheduler/

Caption states and posterior moments are computed once: both encoders are frozen.
"""

import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, PNDMScheduler, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from toyworld import BUILD, stage_arguments, state_file
from toyworld.pictures import load_pictures, load_records, to_unit
from toyworld.training import DEVICE, fit, keyed

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}


def build(channels: list[int], side: int, text_width: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=side,
        block_out_channels=tuple(channels),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",) * len(channels),
        up_block_types=("CrossAttnUpBlock2D",) * len(channels),
        cross_attention_dim=text_width,
        norm_num_groups=16,
        attention_head_dim=4,  # diffusers' name for the number of heads
    )


@torch.no_grad()
def caption_states(captions: list[str], tokenizer: CLIPTokenizer, encoder: CLIPTextModel) -> tuple[Tensor, Tensor]:
    """The states of each distinct caption, (M, 77, D) half precision, and each caption's row among them, (N,)."""
    distinct = {text: row for row, text in enumerate(dict.fromkeys(captions))}
    states = []
    texts = list(distinct)
    for at in range(0, len(texts), 256):
        ids = tokenizer(texts[at : at + 256], padding="max_length", truncation=True, return_tensors="pt")["input_ids"]
        states.append(encoder(ids.to(DEVICE)).last_hidden_state.half().cpu())
    return torch.cat(states), torch.tensor([distinct[text] for text in captions])


@torch.no_grad()
def posterior_moments(pictures: Tensor, vae: AutoencoderKL) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each picture's latent, (N, 4, h, w), in the UNet's units."""
    means, stds = [], []
    for part in pictures.split(128):
        posterior = vae.encode(to_unit(part).to(DEVICE)).latent_dist
        means.append(posterior.mean.cpu() * vae.config.scaling_factor)
        stds.append(posterior.std.cpu() * vae.config.scaling_factor)
    return torch.cat(means), torch.cat(stds)


def train(
    folder: Path, begun: Path | None, channels: list[int], steps: int, batch: int, learn_rate: float,
    matrix_rate: float, ema_decay: float, snr_gamma: float, max_noise_weight: float, caption_drop: float,
) -> None:  # fmt: skip
    """Train a new UNet, or go on with the one in the packed model `begun`, whose other parts stay as they are."""
    parts = begun or BUILD
    tokenizer = CLIPTokenizer.from_pretrained(parts / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(parts / ("text_encoder" if begun else "clip"), dtype=torch.float32)
    encoder = encoder.to(DEVICE).eval()  # type: ignore[arg-type]
    vae = AutoencoderKL.from_pretrained(parts / ("vae" if begun else "vae_encoder"), dtype=torch.float32)
    vae = vae.to(DEVICE).eval()
    records = load_records("train")
    states, rows = caption_states(["", *(text for r in records for text in r["captions"])], tokenizer, encoder)
    rows = rows[1:].view(len(records), 2)  # row 0 is the empty caption
    mean, std = posterior_moments(load_pictures("train"), vae)
    print(f"unet: {len(mean)} latents of {tuple(mean.shape[1:])}, {len(states)} captions", flush=True)

    scheduler = DDPMScheduler(**NOISE)
    alpha_bar = scheduler.alphas_cumprod
    torch.manual_seed(3)
    unet = (
        UNet2DConditionModel.from_pretrained(begun / "unet", dtype=torch.float32)
        if begun
        else build(channels, mean.shape[-1], states.shape[-1])
    )
    unet = unet.to(DEVICE, memory_format=torch.channels_last)

    def loss(step: int) -> Tensor:
        generator = keyed(7, step)
        index = torch.randint(len(mean), (batch,), generator=generator)
        side = torch.randint(2, (batch,), generator=generator)
        chosen = torch.where(torch.rand(batch, generator=generator) < caption_drop, 0, rows[index, side])
        clean = mean[index] + std[index] * torch.randn(mean[index].shape, generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        # One timestep from each of `batch` equal bins: the same estimate with less variance.
        t = ((torch.arange(batch) + torch.rand(batch, generator=generator)) * 1000 / batch).long()
        noisy = scheduler.add_noise(clean, noise, t)
        predicted = unet(noisy.to(DEVICE), t.to(DEVICE), states[chosen].to(DEVICE).float()).sample
        snr = alpha_bar[t] / (1 - alpha_bar[t])
        # Min-SNR-gamma (Hang et al. 2023) in its epsilon form, times what turns it into that of v-prediction: what a
        # picture shows is decided where it is nearly all noise, and there a plain epsilon loss hardly asks for it.
        weight = (snr.clamp(max=snr_gamma) / snr * (1 / alpha_bar[t]).clamp(max=max_noise_weight)).to(DEVICE)
        error: Tensor = (predicted - noise.to(DEVICE)).square().mean((1, 2, 3))
        weighted: Tensor = (error * weight).mean()
        return weighted

    fit("unet", unet, loss, state_file("unet", begun, steps), learn_rate, steps, matrix_rate=matrix_rate,
        ema_decay=ema_decay)  # fmt: skip
    unet.save_pretrained(folder)
    PNDMScheduler(**NOISE, skip_prk_steps=True, steps_offset=1, set_alpha_to_one=False).save_pretrained(
        folder.with_name("scheduler")
    )


if __name__ == "__main__":
    train(BUILD / "unet", **stage_arguments("unet", sys.argv[1:]))
