"""A measure of drawn pictures, and the evidence that it may look at."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pseudoword.judge import Judge

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Evidence:
    """The P pictures that one checkpoint drew, and what they are held against. `Measure.needs` are names in here."""

    pictures: list[Image.Image]
    texts: list[str]  # what each picture's prompt says besides the word; empty where it says nothing
    judge: Judge
    references: Tensor  # (N, D) unit vectors of the training pictures, by the judge

    @cached_property
    def embeddings(self) -> Tensor:
        """(P, D) unit vectors of the pictures, by the judge."""
        return self.judge.pictures(self.pictures)

    @cached_property
    def text_embeddings(self) -> Tensor:
        """(P, D) unit vectors of the texts, by the judge; NaN where the prompt says nothing."""
        different = list(dict.fromkeys(self.texts))
        embedded = self.judge.texts([text or "-" for text in different])
        embedded[[not text for text in different]] = torch.nan
        return embedded[[different.index(text) for text in self.texts]]


@dataclass(frozen=True)
class Measure:
    name: str  # its column in scores.csv and in sheets/pictures.csv
    needs: tuple[str, ...]  # names in Evidence, in the order in which `value` takes them
    higher_is_better: bool
    value: Callable[..., Floats]  # of each picture, (P,); NaN where there is nothing to measure

    def of(self, evidence: Evidence) -> Floats:
        return self.value(*(getattr(evidence, name) for name in self.needs))


def mean(values: Floats) -> float:
    """Over the pictures that have a value; NaN where none has."""
    present = values[np.isfinite(values)]
    return float(present.mean()) if len(present) else float("nan")
