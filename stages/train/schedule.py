"""The learning-rate schedule text of A1111's users: `0.05:10, 0.02:20, 0.005`."""

from pseudoword.errors import UserError


class BadSchedule(UserError):
    def __init__(self, text: str, item: str, found: str) -> None:
        super().__init__(
            f"train.learn_rate: '{text}': item '{item}' {found}. Wanted RATE or RATE:END, separated by commas, for "
            "example '0.05:10, 0.02:20, 0.005'; END is the last update at that rate, or -1 for all the rest."
        )


def parse_schedule(text: str, steps: int) -> list[float]:
    """The rate of each update, 1 to `steps`; shorter when the last END comes before `steps`, and training ends there.

    END is inclusive and counts from 1. A segment whose END lies behind the one before it is passed over. Raises
    BadSchedule naming the item.
    """
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items:
        raise BadSchedule(text, text, "is empty")
    rates: list[float] = []
    for item in items:
        rate, end = _parse_item(text, item, steps)
        rates += [rate] * (min(end, steps) - len(rates))
    return rates


def _parse_item(text: str, item: str, steps: int) -> tuple[float, int]:
    rate_text, *end_text = item.split(":")
    try:
        rate = float(rate_text)
    except ValueError:
        raise BadSchedule(text, item, f"has the rate '{rate_text}', which is not a number") from None
    if not 0 < rate < float("inf"):
        raise BadSchedule(text, item, f"has the rate {rate}, which is not above zero and finite")
    if not end_text:
        return rate, steps
    try:
        (end,) = map(int, end_text)
    except ValueError:
        raise BadSchedule(text, item, f"has the end '{':'.join(end_text)}', which is not a whole number") from None
    if end == -1:
        return rate, steps
    if end < 1:
        raise BadSchedule(text, item, f"ends at update {end}, before the first")
    return rate, end
