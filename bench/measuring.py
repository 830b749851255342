"""Clocks, arithmetic and memory."""

import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from bench.cases import Case, draw_pictures
from bench.models import Model

SIDE = {"cpu": 1024, "cuda": 8192}  # of the matrices whose product is the ceiling
SIDE_CPU_FP16 = 256  # for which a CPU has no fast kernel: a larger one takes minutes
PRODUCTS = 10


def seconds(work: Callable[[], object], device: str) -> float:
    _wait(device)
    start = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - start


def ceiling(device: str, dtype: torch.dtype) -> float:
    """FLOP per second of large matrix products: what this device does at best at this moment."""
    kind = torch.device(device).type
    side = SIDE_CPU_FP16 if kind == "cpu" and dtype is torch.float16 else SIDE.get(kind, 2048)
    left = torch.randn(side, side, device=device, dtype=dtype)

    def multiply() -> None:
        for _ in range(PRODUCTS):
            left @ left

    seconds(multiply, device)
    return PRODUCTS * 2 * side**3 / seconds(multiply, device)


def flops(work: Callable[[], object], device: str) -> int:
    """Of the matrix products and convolutions that `work` makes, forward and backward."""
    # The counter has no formula for the fused attention of a CPU.
    unfused = sdpa_kernel(SDPBackend.MATH) if device == "cpu" else nullcontext()
    with unfused, FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def peak_memory(case: Case, model: Model, resolution: int) -> int:
    """Bytes that model, state and activations take at their peak, in a process of its own.

    On a CPU beyond what Python and the libraries take.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_peak, case, model, resolution).result()


def _peak(case: Case, model: Model, resolution: int) -> int:
    before = _resident("VmRSS")
    with tempfile.TemporaryDirectory() as folder:
        trainer = case.trainer(model, resolution, draw_pictures(Path(folder), resolution), 1)
        if model.device != "cpu":
            torch.cuda.reset_peak_memory_stats()
        trainer.advance(2)
    return torch.cuda.max_memory_allocated() if model.device != "cpu" else _resident("VmHWM") - before


def _resident(field: str) -> int:
    """Bytes of this process as Linux counts them: VmRSS now, VmHWM at its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(field)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
