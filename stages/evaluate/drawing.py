"""Pictures of a checkpoint: the same prompts, from the same noise, for every checkpoint."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pseudoword.base.interface import Base
from pseudoword.draws import Stream, generator
from pseudoword.prompts import Vocabulary

LATENTS_AT_ONCE = 4 * 64 * 64  # numbers per channel: sixteen pictures of 256 px, four of 512, one of 1024
SEED = 0
SMALL = 160  # px


def starting_noise(shape: tuple[int, ...], prompt: int, seed: int) -> Tensor:
    """Standard normal (C, H, W) float32, a function of the prompt's place and the seed only."""
    return torch.from_numpy(generator(SEED, Stream.PICTURE, prompt, seed).standard_normal(shape, np.float32))


@torch.no_grad()
def draw(
    base: Base, vocabulary: Vocabulary, vectors: Tensor,
    prompts: list[str], seeds: int, shape: tuple[int, ...], inference_steps: int, guidance: float,
) -> list[Image.Image]:  # fmt: skip
    """len(prompts) x seeds pictures, the seeds of a prompt together; `shape` (C, H, W) is that of a latent."""
    conditioning = base.encode(vocabulary.encode_all(prompts).to(base.device), vectors.to(base.device))
    jobs = [(prompt, seed) for prompt in range(len(prompts)) for seed in range(seeds)]
    pictures: list[Image.Image] = []
    batch = max(1, min(len(jobs), LATENTS_AT_ONCE // (shape[1] * shape[2])))
    for at in range(0, len(jobs), batch):
        part = jobs[at : at + batch]
        noise = torch.stack([starting_noise(shape, prompt, seed) for prompt, seed in part])
        told = conditioning[[prompt for prompt, _ in part]]
        pictures += base.draw(told, None, noise, inference_steps, guidance)
    return pictures


def contact_sheet(pictures: list[Image.Image], columns: int) -> Image.Image:
    """All pictures in rows of `columns`; small ones twice as large, smoothly."""
    side = max(pictures[0].size)
    cell, gap = (2 * side if side < SMALL else side), 4
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (cell + gap) - gap, rows * (cell + gap) - gap), "white")
    for at, picture in enumerate(pictures):
        place = (at % columns * (cell + gap), at // columns * (cell + gap))
        sheet.paste(picture.resize((cell, cell), Image.Resampling.LANCZOS), place)
    return sheet
