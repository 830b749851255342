"""What `auto` comes to: how many vectors, samples per update, updates and checkpoints."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from pseudoword.errors import UserError

PASSES = 300  # updates that `steps: auto` makes when each sees every picture once
MOST_AT_ONCE_ON_CPU = 16
MOST_AT_ONCE_ON_GPU = 8
CHECKPOINTS = 15


@dataclass(frozen=True)
class Plan:
    """`samples` pictures make one update, at most `batch` of them at once; `saved` are the updates that are kept."""

    steps: int
    batch: int
    samples: int
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
    pictures: int, runs: int, on_gpu: bool, steps: int | str, batch: int | str, accumulation: int | str,
    save_every: int | str,
) -> Plan:  # fmt: skip
    """Resolve each `auto`. An update sees batch x accumulation samples; auto makes that the number of pictures.

    `runs` share the UNet's batch, so `batch: auto` is a share of what is taken at once, in parts of equal length.
    """
    if isinstance(accumulation, int):
        if not isinstance(batch, int):
            raise AccumulationWithoutBatch(accumulation)
        samples = batch * accumulation
    else:
        samples = max(pictures, batch) if isinstance(batch, int) else pictures
    most = max(1, (MOST_AT_ONCE_ON_GPU if on_gpu else MOST_AT_ONCE_ON_CPU) // runs)
    parts = -(-samples // most)
    at_once = batch if isinstance(batch, int) else -(-samples // parts)
    updates = steps if isinstance(steps, int) else max(1, round(PASSES * pictures / samples))
    every = save_every if isinstance(save_every, int) else -(-updates // CHECKPOINTS)
    saved = tuple(sorted({0, *range(every, updates + 1, every), updates}))
    return Plan(updates, min(at_once, samples), samples, saved)
