"""The hypernetwork: small residual modules before the keys and values of every attention layer.

For each width of a context (the text's in cross-attention, the layer's own input in self-attention) there is one pair
of modules, K and V, which all attention layers of that width share. A module makes `c + f(c) * strength` of a context
c; f is a sequence of layers, which a `Structure` says.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pseudoword.draws import Stream, generator

# torch's functions that work number by number and take no argument, by the names that A1111 gives them: a class's name
# in lower case, but for `swish`, which means Hardswish there.
ACTIVATIONS: dict[str, nn.Module] = {
    kind.__name__.lower(): kind()
    for kind in (
        nn.CELU, nn.ELU, nn.GELU, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Hardtanh, nn.LeakyReLU, nn.LogSigmoid,
        nn.Mish, nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Softshrink, nn.Softsign, nn.Tanh,
        nn.Tanhshrink,
    )
} | {"swish": nn.Hardswish(), "rrelu": nn.RReLU().eval()}  # fmt: skip
LINEAR, PRELU = "linear", "prelu"  # no activation; one with a parameter of its own
PRELU_START = 0.25
COMFYUI_KNOWS = (LINEAR, "relu", "leakyrelu", "elu", "swish", "tanh", "sigmoid", "softsign", "mish")
INITIALISATIONS = ("Normal", "XavierUniform", "XavierNormal", "KaimingUniform", "KaimingNormal")
NORMAL_STD = 0.01
MAX_LAYERS, MAX_MULTIPLIER = 32, 64
State = Mapping[str, Tensor]  # the parameters of one module by A1111's keys, such as `linear.0.weight`


class Layer(NamedTuple):
    kind: str  # linear | activation | norm | dropout
    shape: tuple[int, ...] = ()  # of its weight; empty where it has none
    dropout: float = 0.0


@dataclass(frozen=True)
class Structure:
    """Which layers a module has; the same for all widths. Raises ValueError for what cannot be, in words.

    multipliers      of the context's width, before the first and after each linear layer
    dropout          probability after each, as long as `multipliers`; the first is not used
    activate_output  the activation also follows the last linear layer, as in old files
    """

    multipliers: tuple[float, ...] = (1.0, 2.0, 1.0)
    activation: str = LINEAR
    layer_norm: bool = False
    dropout: tuple[float, ...] = field(default=())
    activate_output: bool = False

    def __post_init__(self) -> None:
        if not self.dropout:
            object.__setattr__(self, "dropout", (0.0,) * len(self.multipliers))
        for problem in self._problems():
            raise ValueError(problem)

    def _problems(self) -> Iterator[str]:
        shown = _listed(self.multipliers)
        if not 2 <= len(self.multipliers) <= MAX_LAYERS or self.multipliers[0] != 1 or self.multipliers[-1] != 1:
            yield f"the layer structure {shown} does not begin and end with 1, such as 1, 2, 1"
        if not all(0 < multiplier <= MAX_MULTIPLIER for multiplier in self.multipliers):
            yield f"the layer structure {shown} holds a factor that is not above 0 and at most {MAX_MULTIPLIER}"
        if self.activation not in (LINEAR, PRELU, *ACTIVATIONS):
            known = ", ".join((LINEAR, PRELU, *sorted(ACTIVATIONS)))
            yield f"the activation '{self.activation}' is not known, or does not work number by number; known: {known}"
        if len(self.dropout) != len(self.multipliers):
            yield f"the dropout {_listed(self.dropout)} has not as many numbers as the layer structure {shown}"
        if not all(0 <= share < 1 for share in self.dropout):
            yield f"the dropout {_listed(self.dropout)} holds a share that is not from 0 to below 1"

    def layers(self, width: int) -> list[Layer]:
        """Those of a module for a context of `width`, in their order: the place of each is in its keys.

        Raises ValueError where a factor leaves nothing of the width.
        """
        layers = []
        sizes = [int(width * multiplier) for multiplier in self.multipliers]
        if 0 in sizes:
            raise ValueError(f"the layer structure {_listed(self.multipliers)} leaves nothing of a width of {width}")
        for i, (inputs, outputs) in enumerate(pairwise(sizes), 1):
            layers.append(Layer("linear", (outputs, inputs)))
            if self.activation != LINEAR and (i < len(sizes) - 1 or self.activate_output):
                layers.append(Layer("activation", (1,) if self.activation == PRELU else ()))
            if self.layer_norm:
                layers.append(Layer("norm", (outputs,)))
            if self.dropout[i]:
                layers.append(Layer("dropout", dropout=self.dropout[i]))
        return layers

    def shapes(self, width: int) -> dict[str, tuple[int, ...]]:
        """The shape of each parameter of a module by its key, in the order of the layers."""
        shapes: dict[str, tuple[int, ...]] = {}
        for i, layer in enumerate(self.layers(width)):
            if layer.shape:
                shapes[f"linear.{i}.weight"] = layer.shape
            if layer.kind in ("linear", "norm"):
                shapes[f"linear.{i}.bias"] = layer.shape[:1]
        return shapes

    def count(self, widths: Sequence[int]) -> int:
        """How many numbers the pairs of modules of all widths hold."""
        return sum(2 * sum(map(math.prod, self.shapes(width).values())) for width in widths)

    def told_of_comfyui(self) -> str:
        """How ComfyUI would read a file of this structure otherwise than A1111; empty where both agree."""
        if self.activation not in COMFYUI_KNOWS:
            return f"ComfyUI refuses a hypernetwork with the activation '{self.activation}'"
        if self.layer_norm and self.activation != LINEAR and not self.activate_output:
            return (
                "ComfyUI draws other pictures with this hypernetwork: with a layer norm it puts the activation after "
                "the last linear layer too"
            )
        return ""


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


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
