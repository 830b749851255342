"""What the machine at hand has room for."""

import shutil
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Bytes; `gpu` is None where no GPU would be used."""

    gpu: int | None
    disk: int


def this_machine(device: str) -> Machine:
    """`device` is a resolved one such as "cpu" or "cuda:0"."""
    import torch

    gpu = torch.cuda.get_device_properties(device).total_memory if device.startswith("cuda") else None
    return Machine(gpu, shutil.disk_usage(Path.cwd()).free)
