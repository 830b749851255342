"""The schedule text gives exactly the rates that its users know, and never one update more."""

from itertools import groupby

import pytest

from pseudoword.schedule import BadSchedule, Schedule


def segments(text: str, steps: int) -> list[tuple[int, float]]:
    """(last update, rate) of each stretch of equal rates."""
    ends, at = [], 0
    for rate, group in groupby(Schedule.parse(text).rates(steps)):
        at += len(list(group))
        ends.append((at, rate))
    return ends


GUIDE = "0.05:10, 0.02:20, 0.01:60, 0.005:200, 0.002:500, 0.001:3000, 0.0005"


@pytest.mark.parametrize(
    ("text", "steps", "expected"),
    [
        ("0.005", 1000, [(1000, 0.005)]),
        ("0.005:100, 0.001:1000", 1000, [(100, 0.005), (1000, 0.001)]),
        ("0.005:100, 1e-3:1000, 1e-5:10000", 10000, [(100, 0.005), (1000, 1e-3), (10000, 1e-5)]),
        ("0.005:100", 1000, [(100, 0.005)]),
        ("0.005:100,", 1000, [(100, 0.005)]),
        ("0.1:5, 0.2:-1", 10, [(5, 0.1), (10, 0.2)]),
        ("0.005:100, 0.001:200", 150, [(100, 0.005), (150, 0.001)]),
        (GUIDE, 150, [(10, 0.05), (20, 0.02), (60, 0.01), (150, 0.005)]),
        (GUIDE, 3000, [(10, 0.05), (20, 0.02), (60, 0.01), (200, 0.005), (500, 0.002), (3000, 0.001)]),
        ("0.005:100, 0.001", 100, [(100, 0.005)]),
        ("0.005:100, 0.001:50", 1000, [(100, 0.005)]),
        ("0.001, 0.05:3", 1000, [(1000, 0.001)]),
        ("0.005:100,0.001:50,0.0001", 1000, [(100, 0.005), (1000, 0.0001)]),
    ],
)
def test_each_end_is_inclusive_and_no_step_follows_the_last(text: str, steps: int, expected: list[tuple[int, float]]):
    assert segments(text, steps) == expected


@pytest.mark.parametrize(
    ("text", "item"),
    [("", ""), (",,", ",,"), ("abc", "abc"), ("0.1;5", "0.1;5"), ("0.1:", "0.1:"), (":5", ":5"), ("0.1:1e3", "0.1:1e3"),
     ("0.1:0", "0.1:0"), ("0.1:5, 1:2:3", "1:2:3"), ("nan", "nan"), ("-0.1", "-0.1"), ("0", "0"), ("inf:4", "inf:4")],
)  # fmt: skip
def test_a_wrong_item_is_named(text: str, item: str):
    with pytest.raises(BadSchedule) as error:
        Schedule.parse(text)
    assert f"'{item}'" in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (GUIDE, []),
        ("0.005:100,", []),
        ("0.1:5, 0.2:-1", []),
        ("0.001, 0.05:3", ["item '0.05:3' comes after '0.001', which goes on to the end"]),
        (
            "0.1:-1, 0.2, 0.3:4",
            [f"item '{item}' comes after '0.1:-1', which goes on to the end" for item in ("0.2", "0.3:4")],
        ),
        ("0.005:100, 0.001:50", ["item '0.001:50' ends before it begins, at step 101"]),
        ("0.005:100, 0.002:100, 0.001", ["item '0.002:100' ends before it begins, at step 101"]),
    ],
)
def test_an_item_that_holds_for_no_update_is_told(text: str, told: list[str]):
    """A1111 takes such schedules in silence, and so do we but for a word."""
    assert Schedule.parse(text).passed_over() == told
