"""A run in TensorBoard: loss, rate, norm, gradient, the deterministic loss and the previews."""

import math
from pathlib import Path

import numpy as np
from PIL import Image
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import RecordWriter
from tensorboardX.summary import image as image_summary
from tensorboardX.summary import scalar
from torch import Tensor

from stages.train.state import RECORDED

FILE = "events.out.tfevents.0.pseudoword"  # TensorBoard looks for the middle part


class Board:
    """The event file of one run, written anew with all that is known when a training goes on.

    Equal trainings write equal bytes: an event's time is its step, not the clock's.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = RecordWriter(str(folder / FILE))
        self._write(Event(file_version="brain.Event:2"))
        self._written = 0

    def write(self, records: Tensor, rates: list[float], previews: dict[int, Path]) -> None:
        """Add the steps that are not there yet: `records` (steps so far, 4) of the run, previews by step."""
        for i in range(self._written, min(len(records), len(rates))):
            for name, value in (*zip(RECORDED, records[i].tolist(), strict=True), ("learn_rate", rates[i])):
                if not math.isnan(value):
                    self._write(Event(summary=scalar(f"train/{name}", value)), i + 1)
            if i + 1 in previews:
                with Image.open(previews[i + 1]) as picture:
                    pixels = np.asarray(picture.convert("RGB"))
                self._write(Event(summary=image_summary("preview", pixels, dataformats="HWC")), i + 1)
        self._written = len(records)
        self._writer.flush()

    def _write(self, event: Event, step: int = 0) -> None:
        event.step, event.wall_time = step, step
        self._writer.write(event.SerializeToString())

    def close(self) -> None:
        self._writer.close()
