"""What TensorBoard shows of a run: loss, rate, norm, gradient, the deterministic loss and the previews."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tensorboardX import SummaryWriter
from torch import Tensor

from stages.train.state import RECORDED


class Board:
    """The event file of one run, written anew with all that is known when a training goes on."""

    def __init__(self, folder: Path) -> None:
        self.writer: Any = SummaryWriter(str(folder), flush_secs=10)
        self.written = 0

    def write(self, records: Tensor, rates: list[float]) -> None:
        """`records` (updates so far, 4) of one run; those that are written already are passed over."""
        for update in range(self.written, min(len(records), len(rates))):
            for name, value in zip(RECORDED, records[update].tolist(), strict=True):
                if not math.isnan(value):
                    self.writer.add_scalar(f"train/{name}", value, update + 1)
            self.writer.add_scalar("train/learn_rate", rates[update], update + 1)
        self.written = len(records)

    def show(self, picture: Path, update: int) -> None:
        with Image.open(picture) as image:
            self.writer.add_image("preview", np.asarray(image.convert("RGB")), update, dataformats="HWC")

    def close(self) -> None:
        self.writer.close()
