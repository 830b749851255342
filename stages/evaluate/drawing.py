"""Pictures of a checkpoint, the same prompts from the same noise for every checkpoint, and sheets of them."""

from functools import partial

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from pseudoword.draws import Stream, generator
from pseudoword.files import save_with
from pseudoword.learned import AtWork
from pseudoword.results.places import SHEETS
from stages.evaluate.checkpoints import Checkpoint

LATENTS_AT_ONCE = 4 * 64 * 64  # numbers per channel: sixteen pictures of 256 px, four of 512, one of 1024
SEED = 0
ENLARGED_BELOW_PX = 160


def starting_noise(shape: tuple[int, ...], prompt: int, seed: int) -> Tensor:
    """Standard normal (C, H, W) float32, a function of the prompt's place and the seed only."""
    return torch.from_numpy(generator(SEED, Stream.PICTURE, prompt, seed).standard_normal(shape, np.float32))


@torch.no_grad()
def draw(
    work: AtWork, prompts: list[str], seeds: int, shape: tuple[int, ...], inference_steps: int, guidance: float,
) -> list[Image.Image]:  # fmt: skip
    """len(prompts) x seeds pictures, the seeds of a prompt together; `shape` (C, H, W) is that of a latent."""
    conditioning = work.condition(work.tokens(prompts))
    jobs = [(prompt, seed) for prompt in range(len(prompts)) for seed in range(seeds)]
    pictures: list[Image.Image] = []
    batch = max(1, min(len(jobs), LATENTS_AT_ONCE // (shape[1] * shape[2])))
    for start in range(0, len(jobs), batch):
        part = jobs[start : start + batch]
        noise = torch.stack([starting_noise(shape, prompt, seed) for prompt, seed in part])
        prompted = conditioning[[prompt for prompt, _ in part]]
        pictures += work.base.draw(prompted, None, noise, inference_steps, guidance)
    return pictures


def save_pictures(checkpoint: Checkpoint, pictures: list[Image.Image], seeds: int) -> list[str]:
    """Write a checkpoint's pictures, the seeds of a prompt together; their names below sheets/."""
    files = [f"{checkpoint.run}-{checkpoint.step}/{i // seeds:02d}-{i % seeds}.png" for i in range(len(pictures))]
    for file, picture in zip(files, pictures, strict=True):
        save_with(SHEETS / file, partial(picture.save, format="png"))
    return files


def write_chosen_sheet(drawn: pd.DataFrame, run: str, step: int, training: list[Image.Image]) -> None:
    """The choice at a glance, in rows: training pictures, what the start draws, what the chosen checkpoint draws."""
    columns = drawn["prompt"].nunique()

    def row(step: int) -> list[Image.Image]:
        rows = drawn[(drawn["run"] == run) & (drawn["step"] == step) & (drawn["seed"] == 0)]
        return [Image.open(SHEETS / file) for file in rows["file"]]

    first = [training[i % len(training)] for i in range(columns)]
    sheet = contact_sheet([*first, *row(0), *row(step)], columns)
    save_with(SHEETS / "chosen.png", partial(sheet.save, format="png"))


def contact_sheet(pictures: list[Image.Image], columns: int) -> Image.Image:
    """All pictures in rows of `columns`; small ones twice as large, smoothly."""
    side = max(pictures[0].size)
    cell, gap = (2 * side if side < ENLARGED_BELOW_PX else side), 4
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (cell + gap) - gap, rows * (cell + gap) - gap), "white")
    for i, picture in enumerate(pictures):
        place = (i % columns * (cell + gap), i // columns * (cell + gap))
        sheet.paste(picture.resize((cell, cell), Image.Resampling.LANCZOS), place)
    return sheet
