"""outputs/latents.safetensors, as the stages after `latents` read it."""

import json
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from torch import Tensor

from pseudoword.errors import UserError

LATENTS = Path("outputs/latents.safetensors")


class Latents(NamedTuple):
    """The VAE's posterior of each picture in the UNet's units: mean and std (N, C, H, W) float32; ids N."""

    ids: list[str]
    mean: Tensor
    std: Tensor


class BadLatents(UserError):
    def __init__(self, path: Path, found: str) -> None:
        super().__init__(f"{path}: {found}. Run `dvc repro latents` to make it again.")


def read_latents(path: Path = LATENTS) -> Latents:
    """Raises BadLatents for a file that is missing, cut off or inconsistent."""
    try:
        with safe_open(path, "pt") as file:
            ids, mean, std = json.loads(file.metadata()["ids"]), file.get_tensor("mean"), file.get_tensor("std")
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadLatents(path, f"cannot be read ({error})") from None
    if not len(ids) == len(mean) == len(std):
        raise BadLatents(path, f"holds {len(ids)} ids and {len(mean)} means")
    return Latents(ids, mean, std)
