"""All that a stopped training needs to go on with the same bits: kilobytes, written whole, keyed by what made them.

The state lies outside dvc's outs, which dvc deletes before a stage runs. Its folder is named by a fingerprint of the
settings, the inputs, the base model and the code, so a changed one of these never picks up an old state.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pseudoword.formats.tensors import save_tensors


@dataclass
class State:
    """Where a training of R runs with K vectors in all stands."""

    step: int  # updates done
    vectors: Tensor  # (K, D)
    first: Tensor  # (K, D), AdamW's moments
    second: Tensor  # (K, D)
    kept: Tensor  # (checkpoints so far, K, D)
    records: Tensor  # (step, R, 2): loss, mean norm


def fingerprint(settings: Sequence[object], files: Iterable[Path], code: Iterable[Path], *extra: str) -> str:
    """A name for one computation; any difference in its inputs gives another."""
    total = hashlib.sha256(repr(settings).encode())
    for path in (*files, *sorted(code)):
        total.update(path.name.encode())
        total.update(hashlib.sha256(path.read_bytes()).digest())
    for text in (*map(version, ("torch", "diffusers", "transformers", "numpy")), *extra):
        total.update(text.encode())
    return total.hexdigest()[:16]


def save_state(path: Path, state: State) -> None:
    tensors = {name: value.contiguous() for name, value in vars(state).items() if isinstance(value, Tensor)}
    save_tensors(path, tensors, {})


def load_state(path: Path, device: torch.device) -> State | None:
    """The state at `path`, None where there is none. A file that does not read is not used."""
    if not path.exists():
        return None
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        print(f"warning: {path} does not read ({error}); starting from the beginning")
        return None
    records = tensors.pop("records")  # stays on the CPU, where the loop gathers it
    return State(len(records), records=records, **{name: value.to(device) for name, value in tensors.items()})
