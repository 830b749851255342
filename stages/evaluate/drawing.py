"""Pictures of columns, the same prompts from the same noise for every column, in batches of one shape.

How a model rounds depends on how many pictures it draws at once, and not on which. So batches of pictures of one size
all have the same number of rows, the last one filled up: a picture has the same bits whatever is drawn beside it.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
import torch
from torch import Tensor

from pseudoword.base.interface import Base, Conditioning, stacked
from pseudoword.draws import Stream, generator
from pseudoword.formats.reading import read_learned
from pseudoword.learned import AtWork
from pseudoword.progress import Bar
from pseudoword.results.places import SHEETS
from pseudoword.surroundings import Surroundings
from stages.evaluate.columns import Column
from stages.evaluate.kept import Kept, key_of

LATENTS_AT_ONCE = 4 * 64 * 64  # numbers per channel: four pictures of 512 px, one of 1024
MAX_BATCH = 8  # also of small ones: more are hardly faster, and the last batch is filled up
SEED = 0


@dataclass(frozen=True)
class Sampling:
    shape: tuple[int, ...]  # (C, H, W) of a latent
    inference_steps: int
    guidance: float

    @property
    def batch(self) -> int:
        return max(1, min(MAX_BATCH, LATENTS_AT_ONCE // (self.shape[1] * self.shape[2])))


@dataclass(frozen=True)
class Missing:
    """A picture that has yet to be drawn."""

    column: int
    prompt: int
    seed: int
    key: str


def starting_noise(shape: tuple[int, ...], template: str, seed: int) -> Tensor:
    """Standard normal (C, H, W) float32, a function of the prompt as params.yaml has it and the seed only."""
    prompt = int.from_bytes(hashlib.sha256(template.encode()).digest()[:8], "big")
    return torch.from_numpy(generator(SEED, Stream.PICTURE, prompt, seed).standard_normal(shape, np.float32))


def draw_columns(base: Base, columns: Sequence[Column], sampling: Sampling, kept: Kept, around: Surroundings) -> None:
    """Draw what is not kept, keep it, and write all pictures of the columns below SHEETS."""
    files: list[tuple[str, str]] = []
    missing: list[Missing] = []
    for i, column in enumerate(columns):
        learned = column.learned
        for prompt, seed, file in column.cells():
            key = key_of(learned, column.windows, column.name, column.prompts[prompt], around.beside_sha256,
                         around.strength, column.templates[prompt], seed, tuple(sampling.shape),
                         sampling.inference_steps, sampling.guidance)  # fmt: skip
            files.append((key, file))
            if not kept.has_picture(key):
                missing.append(Missing(i, prompt, seed, key))
    if before := len(files) - len(missing):
        print(f"{before} of {len(files)} pictures were drawn before")
    with Bar[str]("evaluate", total=len(missing), label="draw", unit="picture") as bar:
        for conditioning, jobs in _batches(base, columns, missing, sampling.batch, around):
            noise = torch.stack(
                [starting_noise(sampling.shape, columns[j.column].templates[j.prompt], j.seed) for j in jobs]
            )
            filling = [*range(len(jobs)), *[len(jobs) - 1] * (sampling.batch - len(jobs))]
            drawn = base.draw(
                conditioning[filling], None, noise[filling], sampling.inference_steps, sampling.guidance
            )[: len(jobs)]  # fmt: skip
            for job, picture in zip(jobs, drawn, strict=True):
                kept.save_picture(job.key, picture)
            bar.update(len(jobs))
    for key, file in files:
        kept.copy_picture(key, SHEETS / file)


def _batches(
    base: Base, columns: Sequence[Column], missing: Sequence[Missing], batch: int, around: Surroundings
) -> Iterator[tuple[Conditioning, list[Missing]]]:
    """The prompts of at most `batch` pictures, which go through the UNet together: words of any columns, but one
    hypernetwork at most."""
    waiting: dict[tuple[object, ...], list[tuple[Conditioning, Missing]]] = {}
    for i, jobs in groupby(missing, lambda job: job.column):
        column = columns[i]
        learned = read_learned(column.file) if column.file else None
        work = AtWork(base, learned, column.name, column.windows, around.strength, around.words)
        for prompt, of_prompt in groupby(jobs, lambda job: job.prompt):
            # Alone, since a prompt's rounding too depends on how many are encoded at once.
            conditioning = work.condition(work.tokens([column.prompts[prompt]]))
            group = (i if conditioning.hypernetworks else None, conditioning.states.shape)
            queue = waiting.setdefault(group, [])
            queue += [(conditioning, job) for job in of_prompt]
            while len(queue) >= batch:
                yield _together(queue[:batch])
                del queue[:batch]
    for queue in waiting.values():
        if queue:
            yield _together(queue)


def _together(jobs: list[tuple[Conditioning, Missing]]) -> tuple[Conditioning, list[Missing]]:
    return stacked([conditioning for conditioning, _ in jobs]), [job for _, job in jobs]
