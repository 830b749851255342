"""All that a stopped training needs to go on with the same bits: small, written whole, keyed by what made them.

The state lies outside dvc's outs, which dvc deletes before a stage runs. Its folder is named by a fingerprint of the
settings, the inputs, the base model and the code, so a changed one of these never picks up an old state.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pseudoword.formats.tensors import save_tensors

RECORDED = ("loss", "norm", "gradient", "evaluation")  # of each update and run; evaluation is NaN where none was made


@dataclass
class State:
    """Where a training of R runs with V vectors in all stands."""

    step: int  # updates done
    vectors: Tensor  # (V, D)
    first: Tensor  # (V, D), AdamW's moments
    second: Tensor  # (V, D)
    average: Tensor  # (V, D), the vectors' moving average
    count: Tensor  # (R,) updates that moved the run
    scale: Tensor  # (R,) factor on the loss, so that half precision does not lose small gradients
    good: Tensor  # (R,) int64, updates since the scale last changed
    failed: Tensor  # (R,) int64, the update (from 0) at which a run was no longer finite, -1 for none
    stopped: Tensor  # (R,) int64, the update after which a run was ended early, -1 for none
    broken_by: Tensor  # (R,) int64, the picture at which a run failed, where its loss says so, else -1
    rows: Tensor  # () int64, rows at once; fewer after memory ran out
    records: Tensor  # (step, R, 4) float32 on the CPU, RECORDED

    @classmethod
    def at_start(cls, vectors: Tensor, runs: int, scale: float, rows: int) -> Self:
        def of_runs(value: float, dtype: torch.dtype) -> Tensor:
            return torch.full((runs,), value, device=vectors.device, dtype=dtype)

        return cls(
            step=0,
            vectors=vectors,
            first=torch.zeros_like(vectors),
            second=torch.zeros_like(vectors),
            average=vectors.clone(),
            count=of_runs(0, vectors.dtype),
            scale=of_runs(scale, vectors.dtype),
            good=of_runs(0, torch.int64),
            failed=of_runs(-1, torch.int64),
            stopped=of_runs(-1, torch.int64),
            broken_by=of_runs(-1, torch.int64),
            rows=torch.tensor(rows),
            records=torch.empty(0, runs, len(RECORDED)),
        )


def save_state(path: Path, state: State) -> None:
    save_tensors(path, {name: value for name, value in vars(state).items() if isinstance(value, Tensor)}, {})


def load_state(path: Path, device: torch.device) -> State | None:
    """The state at `path`, None where there is none. A file that does not read is not used."""
    if not path.exists():
        return None
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        print(f"warning: {path} does not read ({error}); starting from the beginning")
        return None
    on_host = {name: tensors.pop(name) for name in ("records", "rows")}
    return State(len(on_host["records"]), **on_host, **{name: value.to(device) for name, value in tensors.items()})
