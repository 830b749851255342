"""The rendered pictures and their records, as the training stages read them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toyworld import BUILD


def load_pictures(split: str, folder: Path = BUILD / "pictures") -> Tensor:
    """All pictures of a split, (N, 3, H, W) uint8, in memory."""
    return torch.from_numpy(np.load(folder / f"{split}.npy")).permute(0, 3, 1, 2)


def load_records(split: str, folder: Path = BUILD / "pictures") -> list[dict[str, Any]]:
    with (folder / f"{split}.jsonl").open() as lines:
        return [json.loads(line) for line in lines]


def to_unit(pictures: Tensor) -> Tensor:
    """uint8 -> float in [-1, 1]."""
    return pictures.float() / 127.5 - 1
