"""All that a stopped training needs to go on with the same bits: small, written whole, with a checksum."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from pseudoword.formats.tensors import save_tensors

RECORDED = ("loss", "norm", "gradient", "evaluation")  # of each step and run; evaluation is NaN where none was made
ON_HOST = ("records", "rows")
SMALL_STATE_BYTES = 16 * 2**20  # written in less time than a step takes
MAX_SHARE = 0.05  # of the time that a large state is written in


@dataclass
class State:
    """Where a training of R runs with V rows of parameters in all stands."""

    step: int  # steps done
    parameters: Tensor  # (V, D)
    first: Tensor  # (V, D), AdamW's moments
    second: Tensor  # (V, D)
    average: Tensor  # (V, D), the parameters' moving average
    count: Tensor  # (R,) steps that moved the run
    scale: Tensor  # (R,) factor on the loss, so that half precision does not lose small gradients
    good: Tensor  # (R,) int64, steps since the scale last changed
    failed: Tensor  # (R,) int64, the step (from 0) at which a run was no longer finite, -1 for none
    stopped: Tensor  # (R,) int64, the step after which a run was ended early, -1 for none
    broken_by: Tensor  # (R,) int64, the picture at which a run failed, where its loss says so, else -1
    rows: Tensor  # () int64, rows at once; fewer after memory ran out
    records: Tensor  # (step, R, 4) float32 on the CPU, RECORDED

    @property
    def bytes(self) -> int:
        return sum(value.nbytes for value in vars(self).values() if isinstance(value, Tensor))

    @classmethod
    def at_start(cls, parameters: Tensor, runs: int, scale: float, rows: int) -> Self:
        def of_runs(value: float, dtype: torch.dtype) -> Tensor:
            return torch.full((runs,), value, device=parameters.device, dtype=dtype)

        return cls(
            step=0,
            parameters=parameters,
            first=torch.zeros_like(parameters),
            second=torch.zeros_like(parameters),
            average=parameters.clone(),
            count=of_runs(0, parameters.dtype),
            scale=of_runs(scale, parameters.dtype),
            good=of_runs(0, torch.int64),
            failed=of_runs(-1, torch.int64),
            stopped=of_runs(-1, torch.int64),
            broken_by=of_runs(-1, torch.int64),
            rows=torch.tensor(rows),
            records=torch.empty(0, runs, len(RECORDED)),
        )

    def ends(self, steps: list[int]) -> list[int]:
        """After how many steps each run has ended or will end, if its schedule has so many. Waits for the device."""
        ended = zip(self.stopped.tolist(), self.failed.tolist(), steps, strict=True)
        return [min(end for end in (stopped, failed, last) if end >= 0) for stopped, failed, last in ended]


class Pace:
    """When to write a state: a small one always, a large one for no more than MAX_SHARE of the time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.next = clock, -math.inf

    def due(self, state: State) -> bool:
        return state.bytes <= SMALL_STATE_BYTES or self.clock() >= self.next

    @contextmanager
    def writing(self) -> Iterator[None]:
        began = self.clock()
        yield
        ended = self.clock()
        self.next = ended + (ended - began) * (1 / MAX_SHARE - 1)


class Saved(NamedTuple):
    """A state, and what tells which training it can serve."""

    state: State
    schedules: Tensor  # (step, R, 2) float64, learning rate and clipping limit of the steps done
    checkpoints: dict[str, str]  # of these steps: SHA-256 of each file, by its path below the state's folder


def save_state(path: Path, saved: Saved) -> None:
    tensors = {name: value for name, value in vars(saved.state).items() if isinstance(value, Tensor)}
    tensors["schedules"] = saved.schedules
    checkpoints = json.dumps(saved.checkpoints, sort_keys=True)
    save_tensors(path, tensors, {"checkpoints": checkpoints, "sha256": _digest(tensors, checkpoints)})


def load_state(path: Path, device: torch.device) -> Saved | None:
    """Read what was saved; None where there is nothing. A file that cannot be read, or has changed, is told of and not
    used."""
    try:
        with safe_open(path, "pt") as file:
            tensors, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
        if metadata["sha256"] != _digest(tensors, metadata["checkpoints"]):
            raise ValueError("its content is not what was written")
        schedules = tensors.pop("schedules")
        placed = {name: value if name in ON_HOST else value.to(device) for name, value in tensors.items()}
        state = State(step=len(tensors["records"]), **placed)
        return Saved(state, schedules, json.loads(metadata["checkpoints"]))
    except FileNotFoundError:
        return None
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        print(f"warning: {path} is not used ({error}); starting from the beginning")
        return None


def _digest(tensors: dict[str, Tensor], checkpoints: str) -> str:
    total = hashlib.sha256(checkpoints.encode())
    for name, tensor in sorted(tensors.items()):
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()
