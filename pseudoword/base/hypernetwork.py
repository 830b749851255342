"""Hypernetworks at the attention layers of the UNet: the only door through which one changes what is frozen.

Letters in shapes: B rows of a batch, L tokens or places of a context, D its width.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any, Self

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn
from torch.nn.functional import layer_norm, linear, prelu
from torch.utils.checkpoint import checkpoint

from pseudoword.base.dropout import Masks
from pseudoword.hypernetwork import Hypernetwork, State
from pseudoword.structure import ACTIVATIONS, PRELU, Structure

# rrelu with its mean slope, as it is when nothing is trained.
FUNCTIONS = {
    kind.__name__.lower(): kind().eval()
    for kind in vars(nn.modules.activation).values()
    if isinstance(kind, type) and issubclass(kind, nn.Module) and kind.__name__.lower() in ACTIVATIONS
} | {"swish": nn.Hardswish()}


@dataclass(frozen=True)
class Applied:
    """Modules in use. They compute in the precision of their parameters, to which a context is brought and back."""

    structure: Structure
    modules: Mapping[int, tuple[State, State]]  # K and V by the width of their context
    strength: float = 1.0

    @classmethod
    def of(cls, hypernetwork: Hypernetwork, strength: float, device: torch.device) -> Self:
        """In float32, whatever the model's precision, as other tools draw with it."""
        moved = {
            width: ({key: v.to(device) for key, v in k.items()}, {key: v.to(device) for key, v in v.items()})
            for width, (k, v) in hypernetwork.modules.items()
        }
        return cls(hypernetwork.structure, moved, strength)

    def change(self, context: Tensor, module: int, masks: Masks | None) -> Tensor:
        """(B, L, D) of the same precision; a width without modules goes through as it is."""
        width = context.shape[-1]
        if width not in self.modules or self.strength == 0:
            return context
        state = self.modules[width][module]
        start = hidden = context.to(next(iter(state.values())).dtype)
        for i, layer in enumerate(self.structure.layers(width)):
            place = f"linear.{i}"
            if layer.kind == "linear":
                hidden = linear(hidden, state[f"{place}.weight"], state[f"{place}.bias"])
            elif layer.kind == "norm":
                hidden = layer_norm(hidden, layer.shape, state[f"{place}.weight"], state[f"{place}.bias"])
            elif layer.kind == "dropout":
                hidden = hidden if masks is None else masks.dropped(hidden, layer.dropout, i)
            elif self.structure.activation == PRELU:
                hidden = prelu(hidden, state[f"{place}.weight"])
            else:
                hidden = FUNCTIONS[self.structure.activation](hidden)
        return (start + hidden * self.strength).to(context.dtype)


@dataclass(frozen=True)
class Hypernetworks:
    """What the rows of a batch go through: each the hypernetworks of its own run, one after another."""

    runs: tuple[tuple[Applied, ...], ...]
    rows: tuple[int, ...] | None = None  # the run of each row, known on the host; None: all are of the first run
    masks: Tensor | None = None  # (B,) int64, the key of each row's dropout; None: nothing is dropped

    @classmethod
    def of(cls, hypernetworks: Sequence[tuple[Hypernetwork, float]], device: torch.device) -> Self:
        """Each with its strength, for all rows of any batch."""
        return cls((tuple(Applied.of(hypernetwork, strength, device) for hypernetwork, strength in hypernetworks),))

    def __getitem__(self, part: slice | Tensor | list[int]) -> "Hypernetworks":
        rows = self.rows if self.rows is None else tuple(torch.tensor(self.rows)[part].tolist())
        return Hypernetworks(self.runs, rows, self.masks if self.masks is None else self.masks[part])

    def twice(self) -> "Hypernetworks":
        """For a batch that holds its rows twice, one half after the other."""
        rows = self.rows if self.rows is None else self.rows * 2
        return Hypernetworks(self.runs, rows, self.masks if self.masks is None else self.masks.repeat(2))

    def change(self, context: Tensor, module: int, layer: int) -> Tensor:
        """What the keys (module 0) or values (module 1) of an attention layer are made of, (B, L, D)."""
        if self.rows is None or len(set(self.rows)) == 1:
            return self._through(self.rows[0] if self.rows else 0, context, self.masks, module, layer)
        order = tuple(sorted(range(len(self.rows)), key=self.rows.__getitem__))
        back = tuple(sorted(range(len(order)), key=order.__getitem__))
        runs = sorted(set(self.rows))
        sizes = [self.rows.count(run) for run in runs]
        parts = context.index_select(0, _index(order, context.device)).split(sizes)
        keys: Sequence[Tensor | None] = [None] * len(runs)
        if self.masks is not None:
            keys = self.masks.index_select(0, _index(order, context.device)).split(sizes)
        changed = [self._through(*each, module, layer) for each in zip(runs, parts, keys, strict=True)]
        return torch.cat(changed).index_select(0, _index(back, context.device))

    def _through(self, run: int, context: Tensor, keys: Tensor | None, module: int, layer: int) -> Tensor:
        for i, applied in enumerate(self.runs[run]):
            masks = None if keys is None else Masks(keys, (2 * layer + module) * len(self.runs[run]) + i)
            context = applied.change(context, module, masks)
        return context


@lru_cache(maxsize=256)
def _index(places: tuple[int, ...], device: torch.device) -> Tensor:
    """Kept on the device, so that no update waits for it again."""
    return torch.tensor(places, device=device)


class KeysAndValues:
    """Stands before the keys and values of every attention layer of a UNet and changes what they are made of.

    The weights are never written to.
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self.hypernetworks: Hypernetworks | None = None
        blocks = [block for block in unet.modules() if isinstance(block, BasicTransformerBlock)]
        layers = [layer for block in blocks for layer in (block.attn1, block.attn2) if layer is not None]
        projections = [(layer.to_k, layer.to_v) for layer in layers]
        for i, pair in enumerate(projections):
            for module, projection in enumerate(pair):
                projection.register_forward_pre_hook(partial(self._before, module, i))
        text = unet.config.cross_attention_dim
        self.widths: list[int] = [text, *sorted({keys.in_features for keys, _ in projections} - {text})]

    @contextmanager
    def through(self, hypernetworks: Hypernetworks | None) -> Iterator[None]:
        """Change contexts by `hypernetworks` while the body runs."""
        before, self.hypernetworks = self.hypernetworks, hypernetworks
        try:
            yield
        finally:
            self.hypernetworks = before

    def _before(self, module: int, layer: int, _: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if self.hypernetworks is None:
            return None
        return (self.hypernetworks.change(inputs[0], module, layer), *inputs[1:])

    def checkpointed(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """Forget activations and compute them again on the way back, through the same hypernetworks as on the way."""
        hypernetworks = self.hypernetworks

        def again(*inputs: Any) -> Any:
            with self.through(hypernetworks):
                return function(*inputs)

        return checkpoint(function if hypernetworks is None else again, *inputs, use_reentrant=False)
