"""What the settings mean to do with the pictures, flat, as far as a check asks."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pseudoword.base.identity import ModelIdentity
from pseudoword.settings.base import Base, Data
from pseudoword.settings.preprocess import Preprocess
from pseudoword.settings.train import Train
from pseudoword.settings.word import Word


@dataclass(frozen=True)
class Intent:
    """`vectors`, `steps`, `batch`, `accumulation` and `save_every` may be "auto"."""

    folder: Path
    model: ModelIdentity
    preprocess: Preprocess
    name: str
    init_text: str
    vectors: int | str
    steps: int | str
    batch: int | str
    accumulation: int | str
    save_every: int | str
    runs: int

    @classmethod
    def of(
        cls, data: Data, base: Base, preprocess: Preprocess, word: Word, train: Train, sweep: dict[str, list[Any]]
    ) -> Self:
        return cls(
            folder=data.folder,
            model=ModelIdentity(base.model, base.revision, base.config),
            preprocess=preprocess,
            name=word.name,
            init_text=word.init_text,
            vectors=word.vectors,
            steps=train.steps,
            batch=train.batch,
            accumulation=train.accumulation,
            save_every=train.save_every,
            runs=math.prod(len(values) for values in sweep.values()),
        )
