"""Which layers the modules of a hypernetwork have, and what they may be made of. No torch is needed to say so."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

LINEAR, PRELU = "linear", "prelu"  # no activation; one with a parameter of its own
# torch's functions that work number by number and take no argument, by the names that A1111 gives them: a class's name
# in lower case, but for `swish`, which means Hardswish there.
ACTIVATIONS = (
    LINEAR, "celu", "elu", "gelu", "hardshrink", "hardsigmoid", "hardswish", "hardtanh", "leakyrelu", "logsigmoid",
    "mish", PRELU, "relu", "relu6", "rrelu", "selu", "sigmoid", "silu", "softplus", "softshrink", "softsign", "swish",
    "tanh", "tanhshrink",
)  # fmt: skip
COMFYUI_KNOWS = (LINEAR, "relu", "leakyrelu", "elu", "swish", "tanh", "sigmoid", "softsign", "mish")
INITIALISATIONS = ("Normal", "XavierUniform", "XavierNormal", "KaimingUniform", "KaimingNormal")
MAX_LAYERS, MAX_MULTIPLIER = 32, 64


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
        if self.activation not in ACTIVATIONS:
            yield (
                f"the activation '{self.activation}' is not known, or does not work number by number; known: "
                f"{', '.join(ACTIVATIONS)}"
            )
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

    @property
    def summary(self) -> str:
        """Such as `1, 2, 1; relu; dropout 0, 0.1, 0`."""
        parts = [_listed(self.multipliers)]
        if self.activation != LINEAR:
            parts.append(self.activation + (" also after the last" if self.activate_output else ""))
        if self.layer_norm:
            parts.append("layer norm")
        if any(self.dropout):
            parts.append(f"dropout {_listed(self.dropout)}")
        return "; ".join(parts)

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


def _listed(numbers: Sequence[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)
