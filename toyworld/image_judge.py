"""image_judge: picture features that tell things and styles apart by cosine alone, from drawn look-alikes.

usage   python -m toyworld.image_judge render
        python -m toyworld.image_judge train [MODEL STEPS]    go on from the image judge of a packed model
reads   build/vae/               by render: pictures as its decoder gives them back
writes  build/families/          by render, see `render_families`
        build/image_judge/       by train: ResNetModel with its image processor; features are `pooler_output.flatten(1)`

The first half of the features is the thing, the second the style; the second is short where no style is drawn, so the
cosine of two pictures without a style is that of their things. No thing that has a name and no held-out thing is drawn.
"""

import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from numpy.random import Generator, default_rng
from torch import Tensor
from transformers import ResNetConfig, ResNetModel, ViTImageProcessor

from toyworld import BUILD, stage_arguments, stage_params, state_file
from toyworld.pictures import to_unit
from toyworld.training import DEVICE, fit, keyed
from toyworld.world import (
    COLOURS,
    DEFAULT_STYLE,
    DETAILS,
    OUTLINES,
    PATTERNS,
    POSITIONS,
    SCENES,
    Thing,
    draw,
    draw_style,
    draw_thing,
)

MEAN_STD = (0.5, 0.5, 0.5)
MEMBERS = 4  # a thing and its look-alikes
VIEWS = 4  # pictures of each
TEMPERATURE = 0.1


def look_alike(thing: Thing, random: Generator) -> Thing:
    """The same thing with one factor changed that shows."""
    factors = ["outline", "colour", "pattern", "detail"] + ["second_colour"] * (thing.pattern != "plain")
    factor = str(random.choice(factors))
    choices = {"outline": OUTLINES, "pattern": PATTERNS, "detail": DETAILS}.get(factor, tuple(COLOURS))
    present = (thing.colour, thing.second_colour) if "colour" in factor else (getattr(thing, factor),)
    changed: dict[str, Any] = {factor: str(random.choice([choice for choice in choices if choice not in present]))}
    return replace(thing, **changed)


def render_families(folder: Path, families: int, seed: int, resolution: int) -> None:
    """Pictures of things that have no name, beside their look-alikes.

    `pictures.npy` (families, MEMBERS, VIEWS, H, W, 3) uint8. Two families after each other are drawn in one style, none
    for the first half of the families. The last view is as the VAE gives it back: what a decoder does to all pictures
    alike must not count. `smeared.npy` (families, H, W, 3) is the first view through the VAE with its latent blurred or
    disturbed: what a half-learned thing looks like.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shape = (families, MEMBERS, VIEWS, resolution, resolution, 3)
    np.lib.format.open_memmap(folder / "pictures.npy", "w+", np.uint8, shape)
    np.lib.format.open_memmap(folder / "smeared.npy", "w+", np.uint8, (families, *shape[3:]))
    parts = [range(at, min(at + 100, families)) for at in range(0, families, 100)]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for part, _ in zip(parts, pool.map(_render_part, repeat(folder), parts, repeat(seed)), strict=True):
            print(f"families: {part.stop} of {families}", flush=True)


def _render_part(folder: Path, part: range, seed: int) -> None:
    """Families `part` into the files, each a function of its own key, so any worker may draw any of them."""
    torch.set_num_threads(1)
    vae = AutoencoderKL.from_pretrained(BUILD / "vae", dtype=torch.float32).to(DEVICE).eval()
    pictures, smeared = (np.load(folder / name, mmap_mode="r+") for name in ("pictures.npy", "smeared.npy"))
    families, _, _, resolution = pictures.shape[:4]
    for family in part:
        random = default_rng([seed, 61, family])
        style = DEFAULT_STYLE if family < families // 2 else draw_style(default_rng([seed, 62, family // 2]))
        thing = draw_thing(random)
        for member, drawn in enumerate([thing, *(look_alike(thing, random) for _ in range(MEMBERS - 1))]):
            for view in range(VIEWS):
                scene, position = str(random.choice(list(SCENES))), str(random.choice(list(POSITIONS)))
                pictures[family, member, view] = draw(drawn, scene, random, position, style, resolution=resolution)
        with torch.no_grad():
            chosen = torch.from_numpy(np.concatenate([pictures[family, :, -1], pictures[family, :1, 0]]))
            latents = vae.encode(to_unit(chosen.permute(0, 3, 1, 2)).to(DEVICE)).latent_dist.mode()
            disturbed = F.avg_pool2d(latents[-1:], 3, 1, 1, count_include_pad=False) if family % 2 else latents[-1:]
            noise = torch.randn(disturbed.shape, generator=keyed(seed, 63, family)).to(DEVICE)
            latents[-1:] = disturbed + (0.3 if family % 2 else 0.8) * latents.std() * noise
            made = ((vae.decode(latents).sample.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu()
        pictures[family, :, -1], smeared[family] = made[:-1].numpy(), made[-1].numpy()
    pictures.flush()
    smeared.flush()


def blurred(pictures: Tensor, sigma: float) -> Tensor:
    """(N, 3, H, W) under a Gaussian of `sigma` px."""
    reach = int(3 * sigma + 0.5)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma) ** 2).to(pictures.device)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    padded = F.pad(pictures, (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel, groups=3), kernel.mT, groups=3)


def warped(pictures: Tensor, reach: float, generator: torch.Generator) -> Tensor:
    """(N, 3, H, W) with a smooth random displacement of up to about `reach` of the picture's side."""
    number, _, height, width = pictures.shape
    coarse = torch.randn(number, 2, 5, 5, generator=generator).to(pictures.device) * reach
    shift = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    identity = torch.eye(2, 3, device=pictures.device).expand(number, 2, 3)
    grid = F.affine_grid(identity, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid + shift, padding_mode="border", align_corners=False)


def moved(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """(N, 3, H, W), each shifted by up to 8 % of its side, scaled by up to 8 %, and half of them mirrored."""
    number = len(pictures)
    scale = 1 + 0.08 * (2 * torch.rand(number, generator=generator) - 1)
    mirror = 2 * torch.randint(2, (number,), generator=generator) - 1
    placed = torch.zeros(number, 2, 3)
    placed[:, 0, 0], placed[:, 1, 1] = scale * mirror, scale
    placed[:, :, 2] = 0.16 * (2 * torch.rand(number, 2, generator=generator) - 1)  # of half a side
    grid = F.affine_grid(placed, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def spoilt(pictures: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture smeared in one of three ways: blurred, bent, or half another thing."""
    third = -(-len(pictures) // 3)
    sigma = 1.5 + 3 * float(torch.rand(1, generator=generator))
    return torch.cat(
        [
            blurred(pictures[:third], sigma),
            warped(pictures[third : 2 * third], 0.13, generator),
            0.5 * (pictures[2 * third :] + others[2 * third :]),
        ]
    )


def contrast(features: Tensor, labels: Tensor, different: Tensor | None = None) -> Tensor:
    """Supervised contrast, Khosla et al. 2020: of all other pictures those with the same label are the nearest.

    `different` (N, N) rules pairs out. A picture without a positive says nothing as an anchor, but is a negative.
    """
    unit = F.normalize(features, dim=-1)
    logits = unit @ unit.T / TEMPERATURE
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)
    out = itself if different is None else itself | different
    log_share = logits - logits.masked_fill(out, -torch.inf).logsumexp(1, keepdim=True)
    positive = (labels[:, None] == labels[None]) & ~out
    anchors = positive.any(1)
    losses = -(log_share.masked_fill(~positive, 0).sum(1) / positive.sum(1).clamp(min=1))
    total: Tensor = losses[anchors].mean()
    return total


def build(channels: list[int], depths: list[int]) -> ResNetModel:
    torch.manual_seed(6)
    config = ResNetConfig(embedding_size=channels[0], hidden_sizes=channels, depths=depths, layer_type="basic")
    return ResNetModel(config)


def train(
    folder: Path, begun: Path | None, channels: list[int], depths: list[int], steps: int, families: int,
    learn_rate: float, matrix_rate: float,
) -> None:  # fmt: skip
    """`families` of a batch, a multiple of four, half of them in a style; a step sees ten pictures of each."""
    pictures = torch.from_numpy(np.load(BUILD / "families/pictures.npy", mmap_mode="r"))
    smeared = torch.from_numpy(np.load(BUILD / "families/smeared.npy", mmap_mode="r"))
    pairs = len(pictures) // 4  # of families: the first half without a style, the second half with one
    model = (
        ResNetModel.from_pretrained(begun / "image_judge", dtype=torch.float32) if begun else build(channels, depths)
    )
    model = model.to(DEVICE, memory_format=torch.channels_last)  # type: ignore[arg-type]
    half = channels[-1] // 2

    def batch(step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (N, 3, H, W) in [-1, 1], the label of each one's thing, and of its style, -1 for none."""
        generator = keyed(8, step)
        plain = torch.randperm(pairs, generator=generator)[: families // 4]
        styled = torch.randperm(pairs, generator=generator)[: families // 4] + pairs
        family = torch.stack([2 * torch.cat([plain, styled]), 2 * torch.cat([plain, styled]) + 1], 1).flatten()
        views = torch.rand(len(family), MEMBERS, VIEWS, generator=generator).argsort(-1)[..., :2]
        rows, members = family[:, None, None], torch.arange(MEMBERS)[:, None]
        chosen = moved(to_unit(pictures[rows, members, views].flatten(0, 2).permute(0, 3, 1, 2)), generator)
        thing = torch.arange(len(family) * MEMBERS).repeat_interleave(2)
        style = torch.where(family < 2 * pairs, -1, family // 2).repeat_interleave(2 * MEMBERS)
        first = chosen[:: 2 * MEMBERS]
        degraded = spoilt(first, first.roll(1, 0), generator)
        smears = to_unit(smeared[family].permute(0, 3, 1, 2))
        alone = len(thing) + torch.arange(2 * len(family))
        everything = torch.cat([chosen, degraded, smears])
        none = torch.full((2 * len(family),), -1)
        return everything.to(DEVICE), torch.cat([thing, alone]).to(DEVICE), torch.cat([style, none]).to(DEVICE)

    def loss(step: int) -> Tensor:
        images, thing, style = batch(step)
        features = model(pixel_values=images.contiguous(memory_format=torch.channels_last)).pooler_output.flatten(1)
        drawn = 2 * MEMBERS * 4 * (families // 4)  # without the degraded ones, of which no style can be asked
        first, second = features[:, :half], features[:, half:]
        styled = style[:drawn] >= 0
        kept, labels = second[:drawn][styled], style[:drawn][styled]
        # Two families share a style: within one family, likeness of the things would do for likeness of the style.
        family = torch.arange(len(kept), device=kept.device) // (2 * MEMBERS)
        share = second[:drawn].square().sum(1) / features[:drawn].square().sum(1)
        length = (share - 0.5 * styled.float()).square().mean()
        by_style = contrast(kept, labels, family[:, None] == family[None])
        total: Tensor = contrast(first, thing) + 0.5 * by_style + length
        return total

    fit("image_judge", model, loss, state_file("image_judge", begun, steps), learn_rate, steps, matrix_rate=matrix_rate)
    # The normalisation's own averages belong to the last weights, not to their average.
    for layer in model.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean of what follows
    model.train()
    with torch.no_grad():
        for step in range(50):
            model(pixel_values=batch(-1 - step)[0])
    model.config.features_by_kind = {"thing": [0, half], "style": [half, 2 * half]}
    model.eval().save_pretrained(folder)
    size = {"height": pictures.shape[-3], "width": pictures.shape[-2]}
    ViTImageProcessor(size=size, image_mean=MEAN_STD, image_std=MEAN_STD).save_pretrained(folder)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["render"]:
            render_families(BUILD / "families", **stage_params("families"))
        case ["train", *going_on]:
            train(BUILD / "image_judge", **stage_arguments("image_judge", going_on))
        case _:
            raise SystemExit("usage: python -m toyworld.image_judge render | train [MODEL STEPS]")
