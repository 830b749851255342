"""Section train."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pseudoword.settings.fields import Auto, PositiveInt, ScheduleText, Section


class Train(Section):
    template: Path = Field(description="One prompt a line, with [name] and optionally [filewords].")
    steps: Auto | PositiveInt = Field("auto", description="Updates of the word. auto: 300 passes over the pictures.")
    batch: Auto | PositiveInt = Field("auto", description="Pictures at once; bounded by memory.")
    accumulation: Auto | PositiveInt = Field(
        "auto", description="Batches per update. auto: enough to see each picture once."
    )
    learn_rate: ScheduleText = Field(
        "0.005", description="One rate, or a schedule 'RATE:END, RATE:END, RATE'; END is the last update at that rate."
    )
    norm: Literal["rescale", "free"] = Field(
        "rescale",
        description="rescale: hold each vector at the vocabulary's mean norm. free: as the optimiser leaves it.",
    )
    latents: Literal["random", "deterministic"] = Field(
        "random", description="Draw from the VAE posterior at each use, or always take its mean."
    )
    save_every: Auto | PositiveInt = Field("auto", description="Updates between checkpoints. auto: 15 of them in all.")
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = Field(0, description="Key of every random draw.")
