"""The hypernetwork: small residual modules before the keys and values of every attention layer.

For each width of a context (the text's in cross-attention, the layer's own input in self-attention) there is one pair
of modules, K and V, which all attention layers of that width share. A module makes `c + f(c) * strength` of a context
c; f is a sequence of layers, which a `Structure` says.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pseudoword.draws import Stream, generator
from pseudoword.errors import UserError
from pseudoword.structure import INITIALISATIONS, Structure

PRELU_START = 0.25
NORMAL_STD = 0.01
State = Mapping[str, Tensor]  # the parameters of one module by A1111's keys, such as `linear.0.weight`


class NotForThisModel(UserError):
    def __init__(self, strange: list[int], widths: list[int]) -> None:
        found, wanted = (", ".join(map(str, numbers)) for numbers in (strange, widths))
        super().__init__(f"hypernetwork.widths: found {found}, wanted some of the base model's own: {wanted}, or auto.")


class CannotBeMade(UserError):
    def __init__(self, problem: str) -> None:
        super().__init__(f"hypernetwork.layers: {problem}.")


@dataclass(frozen=True, eq=False)
class Hypernetwork:
    """`name` and `metadata` are text from a file: never make a path or HTML of them unchecked."""

    name: str
    structure: Structure
    modules: dict[int, tuple[State, State]]  # K and V by the width of their context; float32, CPU, finite
    metadata: dict[str, str]

    @property
    def widths(self) -> list[int]:
        return list(self.modules)


def widths_of(structure: Structure, chosen: Sequence[int] | str, widths: list[int]) -> list[int]:
    """Those that a hypernetwork has: the chosen ones, or all `widths` of the base model's contexts for "auto".

    Raises NotForThisModel for one that the model lacks, CannotBeMade where the structure does not fit one.
    """
    wanted = widths if chosen == "auto" else [int(width) for width in chosen]
    if strange := [width for width in wanted if width not in widths]:
        raise NotForThisModel(strange, widths)
    try:
        for width in wanted:
            structure.layers(width)
    except ValueError as error:
        raise CannotBeMade(str(error)) from None
    return wanted


def initial_modules(
    structure: Structure, widths: Sequence[int], initialisation: str, seed: int
) -> dict[int, tuple[State, State]]:
    """Modules before any training, near the identity but not at it: biases are 0, a layer norm starts at 1.

    initialisation  one of INITIALISATIONS, as torch means them; K and V are drawn apart, each width by its own key

    Raises ValueError, in words, for another initialisation and as `Structure.layers` does.
    """
    if initialisation not in INITIALISATIONS:
        raise ValueError(f"the initialisation '{initialisation}' is not one of {', '.join(INITIALISATIONS)}")

    def drawn(width: int, module: int) -> State:
        return _drawn(structure, width, initialisation, generator(seed, Stream.HYPERNETWORK, width, module))

    return {width: (drawn(width, 0), drawn(width, 1)) for width in widths}


def _drawn(structure: Structure, width: int, initialisation: str, dice: np.random.Generator) -> State:
    state: dict[str, Tensor] = {}
    for i, layer in enumerate(structure.layers(width)):
        if layer.kind == "linear":
            state[f"linear.{i}.weight"] = torch.from_numpy(_weights(layer.shape, initialisation, dice))
        elif layer.shape:
            state[f"linear.{i}.weight"] = torch.full(layer.shape, 1.0 if layer.kind == "norm" else PRELU_START)
        if layer.kind in ("linear", "norm"):
            state[f"linear.{i}.bias"] = torch.zeros(layer.shape[0])
    return state


def _weights(shape: tuple[int, ...], initialisation: str, dice: np.random.Generator) -> NDArray[np.float32]:
    """(outputs, inputs) float32 (Glorot and Bengio 2010; He et al. 2015, with the gain of a ReLU)."""
    outputs, inputs = shape
    std = {"N": NORMAL_STD, "X": math.sqrt(2 / (inputs + outputs)), "K": math.sqrt(2 / inputs)}[initialisation[0]]
    if initialisation.endswith("Uniform"):
        return ((2 * dice.random(shape, np.float32) - 1) * np.float32(std * math.sqrt(3))).astype(np.float32)
    return dice.standard_normal(shape, np.float32) * np.float32(std)
