"""What is measured: our loop with packs of runs, and the reference, all behind `advance(updates)`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from PIL import Image

from bench.models import Model
from bench.reference import Reference
from pseudoword.base.interface import Base
from pseudoword.base.sdxl import StableDiffusionXL
from pseudoword.base.stable_diffusion import StableDiffusion
from pseudoword.draws import Stream, generator
from pseudoword.latents import Group, Latents
from pseudoword.plan import make_plan
from pseudoword.settings.base import BaseSettings
from pseudoword.settings.hypernetwork import HypernetworkSettings
from pseudoword.settings.sweep import runs
from pseudoword.settings.train import TrainSettings
from pseudoword.settings.word import WordSettings
from stages.train.loop import Training
from stages.train.pack import make_pack, make_trainee
from stages.train.settings import Settings

TEMPLATE = Path(__file__).parents[1] / "templates/training/subject.txt"
PICTURES = 16
NO_END = 100_000  # updates


class Trainer(Protocol):
    def advance(self, updates: int) -> None: ...


@dataclass(frozen=True)
class Case:
    """`runs` of `batch` pictures each; runs 0 is the reference."""

    runs: int
    batch: int
    learn: str = "word"  # or hypernetwork

    @property
    def name(self) -> str:
        if not self.runs:
            return f"reference x {self.batch}"
        of = "" if self.learn == "word" else " hyper"
        return f"{self.runs}{of} run{'s' * (self.runs > 1)} x {self.batch}"

    @property
    def pictures(self) -> int:
        """That one update sees."""
        return max(1, self.runs) * self.batch

    def trainer(self, model: Model, resolution: int, files: list[Path], steps: int) -> Trainer:
        """`steps`: updates between two looks at the clock."""
        pipeline = model.pipeline()
        if not self.runs:
            return Reference(pipeline, files, resolution, self.batch)
        base = StableDiffusionXL(pipeline) if model.name == "sdxl" else StableDiffusion(pipeline)
        return Ours(base, resolution, self.runs, self.batch, steps, self.learn)


class Ours:
    """The loop of the train stage with the settings that a new project has."""

    def __init__(self, base: Base, resolution: int, number: int, batch: int, steps: int, learn: str = "word") -> None:
        captions = ["with a red hat, by the sea", "in a cave at night"] * (PICTURES // 2)
        sweep = runs(_settings(number, batch, learn))
        pack = make_pack(sweep, base, captions, PICTURES, NO_END)
        plan = make_plan(PICTURES, number, NO_END, batch, 1, NO_END)
        self.training = Training(
            base, make_trainee(base, pack), [packed.run for packed in pack],
            _latents(base, resolution), plan, stops_at=[steps],
        )  # fmt: skip

    def advance(self, updates: int) -> None:
        end = self.training.state.step + updates
        while self.training.state.step < end:
            self.training.advance()


def draw_pictures(folder: Path, resolution: int) -> list[Path]:
    """Pictures of noise with broad shapes, so that they compress about as photographs do."""
    files = []
    for number in range(PICTURES):
        coarse = generator(0, Stream.PICTURE, number).integers(0, 256, (8, 8, 3), np.uint8)
        files.append(folder / f"{number:02d}.png")
        Image.fromarray(coarse).resize((resolution, resolution), Image.Resampling.BICUBIC).save(files[-1])
    return files


def _latents(base: Base, resolution: int) -> Latents:
    shape = (PICTURES, *base.latent_shape(resolution, resolution))
    drawn = torch.from_numpy(generator(0, Stream.POSTERIOR).standard_normal(shape, np.float32))
    group = Group(list(range(PICTURES)), drawn, torch.full(shape, 0.1), torch.ones(PICTURES, 1, *shape[2:]))
    return Latents([f"{at:012x}" for at in range(PICTURES)], [group])


def _settings(number: int, batch: int, learn: str) -> Settings:
    train = {"template": TEMPLATE, "learn": learn, "batch": batch, "accumulation": 1, "steps": NO_END}
    return Settings(
        base=BaseSettings.model_validate({"model": "models/toyworld"}),
        word=WordSettings.model_validate({"name": "snorf"}),
        hypernetwork=HypernetworkSettings.model_validate({}),
        train=TrainSettings.model_validate(train),
        sweep={"train.seed": list(range(number))},
    )
