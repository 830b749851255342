"""What `auto` comes to: how many samples per update, rows at once, updates and checkpoints."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pseudoword.errors import UserError

PASSES = 300  # updates that `steps: auto` makes when each sees every picture once
MOST_ROWS_ON_CPU = 16  # more bring nothing there
CHECKPOINTS = 15


@dataclass(frozen=True)
class Plan:
    """`samples` pictures make one update of a run; a row is one sample of one run, and `rows` go through the UNet at
    once; `saved` are the updates that are kept."""

    steps: int
    samples: int
    rows: int
    every: int  # updates between two that are kept
    saved: tuple[int, ...]

    def ending(self, ends: Iterable[int]) -> "Plan":
        """The plan of runs whose schedules end after these updates: it ends with the last, and each end is kept."""
        ends = set(ends)
        saved = {update for update in self.saved if update <= max(ends)} | ends
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
    """Resolve each `auto`. An update sees batch x accumulation samples; auto makes that the number of pictures."""
    if isinstance(accumulation, int):
        if not isinstance(batch, int):
            raise AccumulationWithoutBatch(accumulation)
        samples = batch * accumulation
    else:
        samples = pictures
    rows = min(batch, samples) * runs if isinstance(batch, int) else equal_parts(samples * runs, MOST_ROWS_ON_CPU)
    updates = steps if isinstance(steps, int) else max(1, round(PASSES * pictures / samples))
    every = save_every if isinstance(save_every, int) else -(-updates // CHECKPOINTS)
    saved = tuple(sorted({0, *range(every, updates + 1, every), updates}))
    return Plan(updates, samples, rows, every, saved)


def equal_parts(rows: int, most: int) -> int:
    """How many of an update's rows at once, at most `most`, so that it falls into parts of about equal length."""
    return -(-rows // -(-rows // most))
