"""The hypernetwork as a trainee: all numbers of a run's modules as one row, by width, K before V, layer by layer.

Letters in shapes: R runs, D numbers of the largest hypernetwork of the pack, n prompts, E text encoders, W windows,
L tokens.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from pseudoword.base.hypernetwork import Applied, Hypernetworks
from pseudoword.base.interface import Base, Conditioning
from pseudoword.files import save_with
from pseudoword.formats.hypernetwork import load_hypernetwork, save_hypernetwork
from pseudoword.hypernetwork import Hypernetwork, State, initial_modules
from pseudoword.learned import start_of_hypernetwork
from stages.train.encoded import EncodedPrompts, can_be_kept
from stages.train.settings import Settings
from stages.train.trainee import Step, tensor_digest


@dataclass(frozen=True)
class Network:
    """The hypernetwork of one run; its name is text in prompts."""

    name: str
    initial: Hypernetwork

    @classmethod
    def of(cls, settings: Settings, widths: list[int]) -> Self:
        """`widths`: of the base model's contexts. Raises NotForThisModel, CannotBeMade and DoesNotFit."""
        section, name = settings.hypernetwork, settings.word.name
        start = start_of_hypernetwork(section, widths)
        if isinstance(start, Hypernetwork):
            return cls(name, replace(start, name=name, structure=section.structure, metadata={}))
        modules = initial_modules(section.structure, start, section.initialisation, settings.train.seed)
        stated: dict[str, str] = {"weight_initialization": section.initialisation}
        return cls(name, Hypernetwork(name, section.structure, modules, stated))

    @property
    def vectors_in_prompts(self) -> int:
        return 0

    @property
    def summary(self) -> str:
        return f"{self.initial.structure.count(self.initial.widths):,} numbers"

    def digest(self) -> str:
        return tensor_digest(v for pair in self.initial.modules.values() for module in pair for v in module.values())

    def resolved(self) -> dict[str, object]:
        return {"hypernetwork.widths": self.initial.widths}


class Networks:
    """The hypernetworks of the runs of a pack, each in a row of its own; a smaller one ends its row in zeros."""

    recordable = False  # each run's samples go through its own network, with dropout of their own

    def __init__(
        self, base: Base, networks: Sequence[Network], prompts: Sequence[NDArray[np.int64]] | None = None
    ) -> None:
        """`prompts`: ids (E, W, L) of all that can come up, to encode once; None where they vary."""
        self.base, self.networks = base, [network.initial for network in networks]
        self.owner = list(range(len(self.networks)))
        self.dtype = torch.promote_types(torch.float32, base.dtype)
        self.length = max(network.structure.count(network.widths) for network in self.networks)
        self.no_vectors = torch.empty(0, sum(base.widths), device=base.device)
        self.encoded: EncodedPrompts | None = None
        self.reads_prompts_on = base.device
        if prompts and can_be_kept(prompts, base):
            self.encoded, self.reads_prompts_on = EncodedPrompts(base, prompts), torch.device("cpu")

    def start(self) -> Tensor:
        return self._rows({run: network.modules for run, network in enumerate(self.networks)})

    def condition(
        self, parameters: Tensor, ids: Tensor, runs: Sequence[int], keys: Tensor | None = None
    ) -> Conditioning:
        with torch.no_grad():
            conditioning = self.encoded(ids) if self.encoded else self.base.encode(ids, self.no_vectors)
        # In the model's precision: float32 products would cost several times those of the UNet itself.
        rows = parameters.to(self.base.dtype).unbind()
        applied = tuple(
            (Applied(network.structure, _modules(row, network)),)
            for row, network in zip(rows, self.networks, strict=True)
        )
        return replace(conditioning, hypernetworks=Hypernetworks(applied, tuple(runs), keys))

    def constrain(self, proposed: Tensor, step: Step | None = None) -> Tensor:
        return proposed

    def save(
        self, path: Path, run: int, parameters: Tensor, metadata: dict[str, str], picture: Image.Image | None = None
    ) -> None:
        metadata = self.networks[run].metadata | metadata
        if path.suffix == ".png" and picture is not None:  # a picture has no room for so many numbers
            told = PngInfo()
            told.add_itxt("pseudoword", json.dumps(metadata))
            save_with(path, partial(picture.save, format="PNG", pnginfo=told))
        else:
            modules = _modules(parameters[run].cpu(), self.networks[run])
            save_hypernetwork(path, replace(self.networks[run], modules=modules, metadata=metadata))

    def load(self, path: Path, run: int) -> Tensor:
        return self._rows({run: load_hypernetwork(path).modules})

    def _rows(self, modules: dict[int, dict[int, tuple[State, State]]]) -> Tensor:
        """(R, D), zeros for runs that are not among them."""
        rows = torch.zeros(len(self.networks), self.length, dtype=self.dtype)
        for run, pairs in modules.items():
            flat = torch.cat(
                [value.flatten() for pair in pairs.values() for module in pair for value in module.values()]
            )
            rows[run, : len(flat)] = flat
        return rows.to(self.base.device)


def _modules(row: Tensor, network: Hypernetwork) -> dict[int, tuple[State, State]]:
    """The parts of a row (D,) as modules."""
    shapes = {width: network.structure.shapes(width) for width in network.widths}
    lengths = [shape.numel() for each in shapes.values() for _ in "kv" for shape in map(torch.Size, each.values())]
    parts = iter(row.split([*lengths, len(row) - sum(lengths)]))

    def module(width: int) -> State:
        return {key: next(parts).view(shape) for key, shape in shapes[width].items()}

    return {width: (module(width), module(width)) for width in network.widths}
