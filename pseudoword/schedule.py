"""What changes from step to step: the staircase text of A1111's users, `0.05:10, 0.02:20, 0.005`, and its shape."""

import math
import re
from dataclasses import dataclass, field
from typing import Self

from pseudoword.errors import UserError


class BadSchedule(ValueError):
    """Reads after "wanted": schedules are parsed with params.yaml, before any work."""

    def __init__(self, item: str, found: str) -> None:
        super().__init__(
            "RATE or RATE:END, separated by commas, such as '0.05:10, 0.02:20, 0.005', where END is the last step at "
            f"that rate, or -1 for all the rest; item '{item}' {found}"
        )


class WarmUpTooLong(UserError):
    def __init__(self, warm_up: int, steps: int) -> None:
        super().__init__(
            f"train.warm_up: found {warm_up}, wanted less than the run's {steps} steps, or the rate never gets there."
        )


@dataclass(frozen=True)
class Item:
    text: str = field(compare=False)
    rate: float
    end: int | None  # the last step at this rate, counted from 1; None: to the end of the training


@dataclass(frozen=True)
class Schedule:
    """`0.05:10, 0.02:20, 0.005` as it is written, and its items; equal to another that is written otherwise."""

    text: str = field(compare=False)
    items: tuple[Item, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises BadSchedule naming the item."""
        if re.fullmatch(r"\s*0,\d+\s*", text):
            raise BadSchedule(text, f"has a decimal comma; write {text.strip().replace(',', '.')}")
        items = tuple(_parse_item(item.strip()) for item in text.split(",") if item.strip())
        if not items:
            raise BadSchedule(text, "is empty")
        return cls(text, items)

    def rates(self, steps: int) -> list[float]:
        """The rate of each step, 1 to `steps`; shorter when the last END comes before `steps`, and training ends
        there.

        END is inclusive. A segment whose END lies behind the one before it is passed over.
        """
        rates: list[float] = []
        for item in self.items:
            end = steps if item.end is None else min(item.end, steps)
            rates += [item.rate] * (end - len(rates))
        return rates

    def passed_over(self) -> list[str]:
        """Why an item holds for no step, however long the training: one sentence for each such item."""
        reached, last, found = 0, "", []
        for item in self.items:
            if last:
                found.append(f"item '{item.text}' comes after '{last}', which goes on to the end")
            elif item.end is None:
                last = item.text
            elif item.end <= reached:
                found.append(f"item '{item.text}' ends before it begins, at step {reached + 1}")
            reached = max(reached, item.end or 0)
        return found

    def __str__(self) -> str:
        return self.text


def shaped(rates: list[float], warm_up: int, decay: str) -> list[float]:
    """The rates after a linear rise over the first `warm_up` steps, and along half a cosine to zero for `cosine`.

    The first step has 1/warm_up of its rate, step `warm_up` all of it. `cosine` falls from there and would reach
    zero one step after the last (Loshchilov and Hutter 2017, eq. 5, one cycle).
    """
    falling = len(rates) - warm_up

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        return (1 + math.cos(math.pi * (step - warm_up) / falling)) / 2 if decay == "cosine" else 1.0

    return [rate * factor(step) for step, rate in enumerate(rates)]


def lasting(values: list[float], steps: int) -> list[float]:
    """The values of a schedule that ends no training: the last one goes on to step `steps`."""
    return values + [values[-1]] * (steps - len(values))


def _parse_item(item: str) -> Item:
    rate_text, *end_text = item.split(":")
    try:
        rate = float(rate_text)
    except ValueError:
        percent = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", rate_text)
        way = f"; write {float(percent[1]) / 100:g}" if percent else ""
        raise BadSchedule(item, f"has the rate '{rate_text}', which is not a number{way}") from None
    if not 0 < rate < float("inf"):
        raise BadSchedule(item, f"has the rate {rate}, which is not above zero and finite")
    if not end_text:
        return Item(item, rate, None)
    try:
        (end,) = map(int, end_text)
    except ValueError:
        raise BadSchedule(item, f"has the end '{':'.join(end_text)}', which is not a whole number") from None
    if end == -1:
        return Item(item, rate, None)
    if end < 1:
        raise BadSchedule(item, f"ends at step {end}, before the first")
    return Item(item, rate, end)
