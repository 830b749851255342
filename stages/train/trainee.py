"""What is learned, as the loop knows it: one tensor of parameters (V, D), in which each run of the pack has some rows.

Of a word (`stages.train.word`) a row is one of its vectors. What else can be written as rows of numbers may live here
too, such as a network with one row of all its numbers for each run: state, optimiser and loop know no more than this.

Letters in shapes: R runs, V rows of all runs, D numbers of a row, n prompts, E text encoders, W windows, L tokens.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from PIL import Image
from torch import Tensor

from pseudoword.base.interface import Conditioning


class Step(NamedTuple):
    """The step that leads to proposed parameters."""

    before: Tensor  # (V, D)
    gradient: Tensor  # (V, D), clipped
    rate: Tensor  # (V, 1)


class Learned(Protocol):
    """What one run learns: where it starts, and how it is called."""

    @property
    def name(self) -> str:
        """In prompts, and of its files."""

    @property
    def vectors_in_prompts(self) -> int:
        """How many vectors stand for its name in a prompt; 0 where the name is text like any other."""

    @property
    def summary(self) -> str:
        """How much it is, such as `2 vectors`."""

    def digest(self) -> str:
        """Of all that it starts with."""

    def resolved(self) -> dict[str, object]:
        """What the settings that may be `auto` came to, by their keys."""


class Trainee(Protocol):
    @property
    def owner(self) -> Sequence[int]:
        """The run of each row, in ascending order."""

    @property
    def reads_prompts_on(self) -> torch.device:
        """Where `condition` takes the ids of prompts."""

    @property
    def recordable(self) -> bool:
        """Whether `condition` does the same for all prompts of a shape and number, whichever runs they are of."""

    def start(self) -> Tensor:
        """The parameters before the first step, (V, D), on the device that trains."""

    def condition(
        self, parameters: Tensor, ids: Tensor, runs: Sequence[int], keys: Tensor | None = None
    ) -> Conditioning:
        """Prompts as the UNet reads them with the parameters at work, differentiable in these.

        ids   (n, E, W, L) int64, on `reads_prompts_on`
        runs  of each prompt, whose parameters it is for
        keys  (n,) int64, of each prompt's dropout; None: nothing is dropped
        """

    def constrain(self, proposed: Tensor, step: Step | None = None) -> Tensor:
        """The proposed parameters (V, D), of an optimiser's `step` or an average, brought to where they may be."""

    def save(
        self, path: Path, run: int, parameters: Tensor, metadata: dict[str, str], picture: Image.Image | None = None
    ) -> None:
        """Write the rows of one run to a file whose suffix says how; `picture` is what a .png shows."""

    def load(self, path: Path, run: int) -> Tensor:
        """Read what `save` wrote: (V, D) with the rows of one run, and nothing in those of the others."""


def tensor_digest(tensors: Iterable[Tensor]) -> str:
    """SHA-256 over the numbers of some tensors."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()
