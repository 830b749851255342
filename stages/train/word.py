"""The word as a trainee: vectors spliced into the prompts, held at the vocabulary's norm or turned on its sphere.

Letters in shapes: R runs, K vectors of one run, V vectors of all runs, E text encoders, D numbers of a vector (the
encoders' widths side by side).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from PIL import Image
from torch import Tensor

from pseudoword.base.interface import Base, Conditioning
from pseudoword.formats.card import draw_card
from pseudoword.formats.picture import save_picture
from pseudoword.formats.reading import read_embedding
from pseudoword.formats.writing import write_embedding
from pseudoword.word import (
    initial_vectors,
    side_by_side,
    stored_vectors,
    to_embedding,
    vectors_for,
    vocabulary_norms,
)
from stages.train.settings import Settings
from stages.train.trainee import Step, tensor_digest


@dataclass(frozen=True)
class Word:
    """The word of one run."""

    name: str
    vectors: Tensor  # (K, D) float32, where it starts
    norms: Tensor  # (K, E), at which its vectors are held unless `norm` is free
    norm: str = "free"  # free | rescale | direction
    pull: float = 0.0  # of direction, towards the start

    @classmethod
    def of(cls, settings: Settings, base: Base, pictures: int) -> Self:
        """`pictures` without mirrored copies, from which auto vectors follow."""
        word, train = settings.word, settings.train
        usual = torch.tensor([vocabulary_norms(base.tables)])
        wanted = None if word.vectors == "auto" else int(word.vectors)
        if word.init_file is None:
            number = vectors_for(pictures) if wanted is None else wanted
            vectors = initial_vectors(word.init_text, number, base.tables, base.tokenizers)
            norms = usual.expand(len(vectors), -1)
        else:
            vectors = stored_vectors(word.init_file.checked(), wanted, base.widths, word=word.init_file.word)
            # What was learned before keeps its norms; a vector of zeros has none to keep.
            parts = vectors.cpu().split(list(base.widths), dim=1)
            norms = torch.stack([part.norm(dim=-1) for part in parts], dim=1)
            norms = norms.where(norms > 0, usual)
        return cls(word.name, vectors, norms, train.norm, train.pull)

    @property
    def vectors_in_prompts(self) -> int:
        return len(self.vectors)

    @property
    def summary(self) -> str:
        return f"{len(self.vectors)} vector{'s' * (len(self.vectors) > 1)}"

    def digest(self) -> str:
        return tensor_digest([self.vectors, self.norms])

    def resolved(self) -> dict[str, object]:
        return {"word.vectors": len(self.vectors)}


class Words:
    """The words of the runs of a pack, their vectors beside each other behind the vocabulary."""

    recordable = True  # the ids of a run's prompts name its own vectors

    def __init__(self, base: Base, words: Sequence[Word]) -> None:
        self.base, self.words = base, list(words)
        self.widths, self.reads_prompts_on = list(base.widths), base.device
        self.owner = [run for run, word in enumerate(words) for _ in word.vectors]
        self.dtype = torch.promote_types(torch.float32, base.dtype)
        self.norms = torch.cat([self._moved(word.norms) for word in words]).split(1, dim=1)
        self.pull = self._of_rows([word.pull for word in words])
        self.held = self._of_rows([word.norm != "free" for word in words]).bool()
        self.on_sphere = self._of_rows([word.norm == "direction" for word in words]).bool()
        self.any_on_sphere = any(word.norm == "direction" for word in words)
        self.origin = self._directions(torch.cat([self._moved(word.vectors) for word in words]))

    def start(self) -> Tensor:
        return self.constrain(torch.cat([self._moved(word.vectors) for word in self.words]))

    def condition(
        self, parameters: Tensor, ids: Tensor, runs: Sequence[int], keys: Tensor | None = None
    ) -> Conditioning:
        return self.base.encode(ids, parameters)

    def constrain(self, proposed: Tensor, step: Step | None = None) -> Tensor:
        """Vectors with the norms that their runs hold; those of `direction` go along the sphere instead."""
        held = self._at_norm(proposed)
        if step is not None and self.any_on_sphere:
            held = self._along_sphere(step).where(self.on_sphere, held)
        return held

    def save(
        self, path: Path, run: int, parameters: Tensor, metadata: dict[str, str], picture: Image.Image | None = None
    ) -> None:
        rows = parameters.split([len(word.vectors) for word in self.words])[run]
        embedding = to_embedding(self.words[run].name, rows, self.widths, metadata)
        if path.suffix == ".png":
            save_picture(path, embedding, draw_card(embedding, picture))
        else:
            write_embedding(path, embedding, overwrite=True)

    def load(self, path: Path, run: int) -> Tensor:
        rows = side_by_side(read_embedding(path))
        parameters = torch.zeros(len(self.owner), rows.shape[1])
        parameters[[owner == run for owner in self.owner]] = rows
        return self._moved(parameters)

    def _at_norm(self, vectors: Tensor) -> Tensor:
        """AdamW inflates the norm without any gain in loss, and a vector far above the vocabulary's norm drowns
        position and context in the encoder. A zero vector stays where it is."""
        scaled = []
        for part, norm in zip(self._split(vectors), self.norms, strict=True):
            length = part.norm(dim=-1, keepdim=True)
            scaled.append(part * torch.where(length > 0, norm / length.clamp(min=1e-12), 1.0))
        return torch.cat(scaled, dim=1).where(self.held, vectors)

    def _along_sphere(self, step: Step) -> Tensor:
        """One step of Riemannian gradient descent on each vector's direction, and a pull to where it started (Kim et
        al. 2026, "Directional Textual Inversion").

        Only the tangent part of the gradient counts, at length 1; the pull is the gradient of a von Mises-Fisher prior.
        """
        moved = []
        parts = zip(*map(self._split, (step.before, step.gradient, self.origin)), self.norms, strict=True)
        for vectors, gradient, origin, norm in parts:
            unit = vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-12)
            slope = gradient * norm - self.pull * origin
            tangent = slope - (slope * unit).sum(-1, keepdim=True) * unit
            turned = unit - step.rate * tangent / tangent.norm(dim=-1, keepdim=True).clamp(min=1e-30)
            moved.append(turned / turned.norm(dim=-1, keepdim=True) * norm)
        return torch.cat(moved, dim=1)

    def _directions(self, vectors: Tensor) -> Tensor:
        parts = [part / part.norm(dim=-1, keepdim=True).clamp(min=1e-12) for part in self._split(vectors)]
        return torch.cat(parts, dim=1)

    def _split(self, vectors: Tensor) -> list[Tensor]:
        return list(vectors.split(self.widths, dim=1))

    def _moved(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.base.device, self.dtype)

    def _of_rows(self, values: Sequence[float]) -> Tensor:
        """(R,) -> (V, 1)."""
        return torch.tensor([values[run] for run in self.owner], device=self.base.device, dtype=self.dtype)[:, None]
