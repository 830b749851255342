"""The plan of a training: each `auto` of steps, samples per step, rows at once and checkpoints worked out."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pseudoword.errors import UserError

PASSES = 300  # over the pictures that `steps: auto` makes
MAX_ROWS_ON_CPU = 16  # more bring nothing there
MAX_CHECKPOINTS = 15  # that `save_every: auto` leaves, the start not counted
FIRST_SAVE_EVERY = 5  # steps; doubled as often as a training is too long for MAX_CHECKPOINTS


@dataclass(frozen=True)
class Plan:
    """`samples` pictures make one step of a run; a row is one sample of one run, and `rows` go through the UNet at
    once; `saved` are the steps whose checkpoints the training leaves."""

    steps: int
    samples: int
    rows: int
    save_every: int
    saved: tuple[int, ...]

    @property
    def kept(self) -> set[int]:
        """The steps whose checkpoints are kept on the way: those that a longer training, or a shorter one, would leave
        by `save_every: auto`, too."""
        return {*self.saved, *(step for step in range(self.steps) if step % usual_save_every(step) == 0)}

    def ending(self, ends: Iterable[int]) -> "Plan":
        """The plan of runs whose schedules end after these steps: it ends with the last, and each end is saved."""
        ends = set(ends)
        saved = {step for step in self.saved if step <= max(ends)} | ends
        return replace(self, steps=max(ends), saved=tuple(sorted(saved)))


class AccumulationWithoutBatch(UserError):
    def __init__(self, accumulation: int) -> None:
        super().__init__(
            f"train.accumulation is {accumulation} while train.batch is auto. Give train.batch a number too, or leave "
            "train.accumulation at auto: it then makes each update see every picture once."
        )


def make_plan(
    pictures: int, runs: int, steps: int | str, batch: int | str, accumulation: int | str, save_every: int | str
) -> Plan:
    """Resolve each `auto`. A step sees batch x accumulation samples; auto makes that the number of pictures."""
    if isinstance(accumulation, int):
        if not isinstance(batch, int):
            raise AccumulationWithoutBatch(accumulation)
        samples = batch * accumulation
    else:
        samples = pictures
    rows = min(batch, samples) * runs if isinstance(batch, int) else equal_parts(samples * runs, MAX_ROWS_ON_CPU)
    total = steps if isinstance(steps, int) else max(1, round(PASSES * pictures / samples))
    every = save_every if isinstance(save_every, int) else usual_save_every(total)
    return Plan(total, samples, rows, every, tuple(sorted({0, *range(every, total + 1, every), total})))


def usual_save_every(steps: int) -> int:
    """Steps between the checkpoints of a training of `steps`: 5, 10, 20, 40, ... so that there are at most 15.

    Each of these divides the next. What a longer training leaves of its first steps, a shorter one left too.
    """
    every = FIRST_SAVE_EVERY
    while steps > MAX_CHECKPOINTS * every:
        every *= 2
    return every


def equal_parts(rows: int, most: int) -> int:
    """How many of a step's rows at once, at most `most`, so that it falls into parts of about equal length."""
    return -(-rows // -(-rows // most))
