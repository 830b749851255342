"""What the device allows: rows at once, gradient checkpointing where memory is short, a compiled UNet."""

import importlib.util
import os
import shutil
import sysconfig
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import Tensor

from pseudoword.base.hub import first_line
from pseudoword.base.interface import Base
from pseudoword.errors import UserError, is_out_of_memory
from pseudoword.plan import Plan

FREE_SHARE = 0.1  # of the free memory is left, for what the allocator cannot use and the pictures of a preview
PASSES_WORTH_COMPILING = 1000  # through the UNet, for each shape of latents: each is compiled by itself
MAX_ERROR = 0.1  # share of the gradient; half precision rounds by a few hundredths


class OutOfMemory(UserError):
    def __init__(self, device: torch.device, checkpointing: bool) -> None:
        how = "with gradient checkpointing on" if checkpointing else "with train.gradient_checkpointing: false"
        super().__init__(
            f"not even one picture at a time fits into the memory of {device}, {how}. Take a smaller "
            "preprocess.resolution, base.precision bf16 or fp16, or a larger GPU."
        )


class CannotCompile(UserError):
    def __init__(self, device: torch.device, why: str) -> None:
        super().__init__(
            f"train.compile is true, but compiling for {device} {why}. Mend that, or set train.compile to auto, which "
            "compiles only where it can and where it pays."
        )


class Capacity:
    """What is done to make a training fit on its device, and to make it fast there."""

    def __init__(self, base: Base, rows: int, checkpointing: bool | None) -> None:
        """rows           planned at once
        checkpointing  gradients: True from the start, False never, None when one row does not fit without
        """
        self.base, self.rows = base, rows
        self.checkpointing, self.may_checkpoint = checkpointing is True, checkpointing is not False
        self.compiled = False
        if self.checkpointing:
            base.checkpoint_gradients(True)

    def after_running_out(self, rows: int) -> int:
        """How many rows at once to go on with: the same draws in smaller parts, so the same result beyond rounding.

        Raises OutOfMemory.
        """
        if self.base.device.type == "cuda":
            torch.cuda.empty_cache()
        if rows > 1:
            print(f"out of memory with {rows} at once; going on with {rows // 2}, and twice the accumulation")
            return rows // 2
        self.spare_memory()
        print(f"out of memory with one at a time; going on with gradient checkpointing, {self.rows} at once")
        return self.rows  # as many may fit now

    def spare_memory(self) -> None:
        """Gradient checkpointing from here on. Raises OutOfMemory where it is on already, or not wanted."""
        if self.checkpointing or not self.may_checkpoint:
            raise OutOfMemory(self.base.device, self.checkpointing)
        self.checkpointing = True
        self.base.checkpoint_gradients(True)

    def probed_rows(self, probe: Callable[[int], None], most: int) -> int:
        """How many rows at once fit into the memory of a CUDA device, at most `most`: measured, not guessed.

        `probe` takes the memory of so many rows and gives it back. Raises OutOfMemory where not even one fits.
        """
        device = self.base.device

        def peak_of(rows: int) -> int:
            before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
            probe(rows)
            return torch.cuda.max_memory_allocated(device) - before

        try:
            probe(1)  # cuBLAS and cuDNN take their workspaces once
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            self.spare_memory()
            torch.cuda.empty_cache()
            return self.probed_rows(probe, most)
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(device)
        return rows_that_fit(peak_of, free, most)

    def compile(self, plain: Tensor, gradient: Callable[[], Tensor], shapes: int, wanted: str | bool) -> None:
        """Have the UNet compiled from here on, once for each shape of latents: all parts have one length then.

        Compilers err: torch 2.13 compiles some small UNets for a CPU to a right loss with a wrong gradient. So the next
        step's gradient is made both ways, and where they differ nothing is compiled.

        plain     the next step's gradient as it is without compiling; `gradient` makes it again
        shapes    how many shapes of latents there are
        wanted    auto | true

        Raises CannotCompile where the compiler fails and `wanted` is true; auto goes on without it.
        """
        self.base.compile(shapes)
        self.compiled = True
        try:
            error = error_of(gradient(), plain)
        except Exception as failure:  # of the compiler, of Triton, of a program that they start: each has its own
            if isinstance(failure, UserError) or is_out_of_memory(failure):
                raise
            why = first_line(getattr(failure, "inner_exception", failure))
            if wanted is True:
                raise CannotCompile(self.base.device, f"failed: {why}") from failure
            self._go_on_without(f"the UNet cannot be compiled ({why})")
        else:
            if not error <= MAX_ERROR:  # no number where a gradient is not finite
                self._go_on_without(f"the compiled UNet has another gradient, {error:.0%} off")

    def _go_on_without(self, why: str) -> None:
        self.compiled = False
        torch.compiler.set_stance("force_eager")
        print(f"warning: {why}; going on without compiling")

    def eagerly(self) -> AbstractContextManager[object]:
        """Within it nothing is compiled: for pictures and evaluations, whose lengths differ and are few."""
        return torch.compiler.set_stance("force_eager") if self.compiled else nullcontext()


def error_of(gradient: Tensor, plain: Tensor) -> float:
    """How far a gradient is from the plain one, as a share of that; no number where one is not finite."""
    return float((gradient - plain).norm() / plain.norm())


def rows_that_fit(peak_of: Callable[[int], int], free: int, most: int) -> int:
    """At least 1 and at most `most`.

    peak_of  bytes that so many rows take at their peak, which grows by the same for each row; one row fits
    free     bytes
    """
    first = peak_of(1)
    try:
        second = peak_of(2)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return 1
    each = max(second - first, 1)
    return max(1, min(most, int((free * (1 - FREE_SHARE) - (first - each)) // each)))


def compiles(wanted: str | bool, device: torch.device, plan: Plan, runs: int, shapes: int) -> bool:
    """Whether this training is compiled: minutes first, then each pass takes less time. On a CPU the minutes never
    come back. Raises CannotCompile where it is asked for and cannot be.

    wanted  auto | true | false | graphs; `auto` compiles for CUDA, where the plan makes enough passes through the UNet
    shapes  how many shapes of latents there are
    """
    missing = missing_for_compiling(device)
    if wanted is True and missing:
        raise CannotCompile(device, f"needs {missing}")
    passes = plan.steps * -(-plan.samples * runs // plan.rows)
    worth_it = device.type == "cuda" and passes >= PASSES_WORTH_COMPILING * shapes
    return wanted is True or (wanted == "auto" and worth_it and not missing)


def missing_for_compiling(device: torch.device) -> str:
    """What a compiler for this device lacks on this machine, or nothing."""
    compiler = ("CC", "cc", "gcc", "clang") if device.type == "cuda" else ("CXX", "c++", "g++", "clang++", "cl")
    if not os.environ.get(compiler[0]) and not any(map(shutil.which, compiler[1:])):
        return f"a C compiler ({compiler[2]})" if device.type == "cuda" else f"a C++ compiler ({compiler[2]})"
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package triton"
    if device.type == "cuda" and not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "the headers of Python (python3-dev)"
    return ""
