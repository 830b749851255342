"""On which device and in which precision the frozen model runs."""

import torch

from pseudoword.errors import UserError

PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}


class NoSuchDevice(UserError):
    def __init__(self, device: str) -> None:
        super().__init__(
            f"base.device: '{device}' is asked for, but torch {torch.__version__} sees no such device here. "
            "Use auto or cpu, or install a torch built for your GPU."
        )


def resolve_device(device: str) -> str:
    """`auto` becomes cuda:0, mps or cpu; a device that is not there raises NoSuchDevice."""
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device in ("auto", "cuda") and present["cuda"]:
        return "cuda:0"
    if device == "auto":
        return "mps" if present["mps"] else "cpu"
    kind, _, index = device.partition(":")
    if not present[kind] or (index and int(index) >= torch.cuda.device_count()):
        raise NoSuchDevice(device)
    return device


def hardware(device: str) -> str:
    """The kind of hardware that decides how results are rounded: for the keys of what is kept."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{device} {torch.backends.cpu.get_cpu_capability()} {torch.get_num_threads()}"


def resolve_precision(precision: str, device: str) -> torch.dtype:
    """`auto` becomes bf16 on a GPU that has it, fp16 on another, fp32 on a CPU."""
    if precision != "auto":
        return PRECISIONS[precision]
    if device == "cpu":
        return torch.float32
    if device.startswith("cuda"):
        with torch.cuda.device(device):
            # Every card can pretend to have bf16; before the Ampere generation it is slower than fp32.
            return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    return torch.float16
