"""Whether the UNet is compiled: minutes first, then each pass takes less time. On a CPU the minutes never come back."""

import importlib.util
import os
import shutil
import sysconfig
from pathlib import Path

import torch

from pseudoword.errors import UserError
from pseudoword.plan import Plan

PASSES_WORTH_IT = 1000  # through the UNet, for each shape of latents: each is compiled by itself


class CannotCompile(UserError):
    def __init__(self, device: torch.device, missing: str) -> None:
        super().__init__(
            f"train.compile is true, but compiling for {device} needs {missing}. Install it, or set train.compile "
            "to auto, which compiles only where it can and where it pays."
        )


def compiles(wanted: str | bool, device: torch.device, plan: Plan, runs: int, shapes: int) -> bool:
    """Whether this training is compiled. Raises CannotCompile where it is asked for and cannot be.

    wanted  auto | true | false; `auto` compiles for CUDA, where the plan makes enough passes through the UNet
    shapes  how many shapes of latents there are
    """
    missing = what_is_missing(device)
    if wanted is True and missing:
        raise CannotCompile(device, missing)
    passes = plan.steps * -(-plan.samples * runs // plan.rows)
    worth_it = device.type == "cuda" and passes >= PASSES_WORTH_IT * shapes
    return wanted is True or (wanted == "auto" and worth_it and not missing)


def what_is_missing(device: torch.device) -> str:
    """What a compiler for this device lacks here, or nothing."""
    compiler = ("CC", "cc", "gcc", "clang") if device.type == "cuda" else ("CXX", "c++", "g++", "clang++", "cl")
    if not os.environ.get(compiler[0]) and not any(map(shutil.which, compiler[1:])):
        return f"a C compiler ({compiler[2]})" if device.type == "cuda" else f"a C++ compiler ({compiler[2]})"
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        return "the package triton"
    if device.type == "cuda" and not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        return "the headers of Python (python3-dev)"
    return ""
