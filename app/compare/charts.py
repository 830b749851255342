"""Charts as plain values for the template, places in px: measures by samples, and settings and measures in parallel."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.compare.comparison import AS_GOOD, TAKE, Comparison, Row
from app.compare.settings import setting
from stages.choose.selection import NOTHING, RULE

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 300, 44, 546, 12, 270
X_TICKS, Y_STEP = 4, 0.25
MARKS = {"chosen": ", to be taken", "tied": ", as good", "taken": ", the best of its training", "": ""}
CHARTED = ("score", *RULE)

# Parallel lines: the room of an axis, and from where to where it reaches.
AXIS_PX, MARGIN_PX, AXIS_TOP, AXIS_BOTTOM, PARALLEL_HEIGHT = 118, 62, 52, 286, 304
MIN_ROWS, MIN_KEYS = 3, 2  # below which a table says it better
MAX_VALUES = 12  # of a setting that are written at its axis

Colours = Mapping[int, Any]  # by `id` of a row: the number of its colour, or "none"


@dataclass(frozen=True)
class Point:
    """A drawn checkpoint with a measure and its interval."""

    step: int
    samples: int
    value: float
    low: float
    high: float
    mark: str  # of MARKS

    def text(self, row: Row, measure: str) -> str:
        figure = f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"
        return f"{row.label}, step {self.step}, {self.samples:,} samples: {measure} {figure}{MARKS[self.mark]}"


def chart(measure: str, comparison: Comparison, colours: Colours) -> dict[str, Any]:
    """A measure by samples, of the rows that have it."""
    rows = [row for row in comparison.rows if measure not in row.gaps]
    points = {id(row): list(points_of(measure, row, comparison)) for row in rows}
    ends = [end for line in points.values() for point in line for end in (point.low, point.high)]
    low, high = min([0.0, *ends]), max([1.0, *ends])
    most = max([1, *(point.samples for line in points.values() for point in line)])

    def x(samples: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * samples / most, 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low), 1)

    lines = []
    for row in _choice_last(rows, comparison):
        line = points[id(row)]
        upper = [f"{x(point.samples)},{y(point.high)}" for point in line]
        lower = [f"{x(point.samples)},{y(point.low)}" for point in reversed(line)]
        dots = [
            {"x": x(point.samples), "y": y(point.value), "mark": point.mark, "text": point.text(row, measure)}
            for point in line
        ]
        path = "M" + " L".join(f"{dot['x']},{dot['y']}" for dot in dots) if dots else ""
        band = f"M{' L'.join([*upper, *lower])}Z" if len(line) > 1 else ""
        is_choice = comparison.mark(row) == TAKE
        lines.append({"colour": colours[id(row)], "is_choice": is_choice, "path": path, "band": band, "dots": dots})
    levels = [i * Y_STEP for i in range(math.ceil(low / Y_STEP), math.floor(high / Y_STEP) + 1)]
    return {
        "title": measure.capitalize(), "width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "lines": lines,
        "y_ticks": [{"at": y(level), "text": f"{level:g}"} for level in levels],
        "x_ticks": [{"at": x(most * i / X_TICKS), "text": f"{most * i / X_TICKS:,.0f}"} for i in range(X_TICKS + 1)],
    }  # fmt: skip


def points_of(measure: str, row: Row, comparison: Comparison) -> list[Point]:
    """By step."""
    each = row.experiment.runs[row.run].samples_per_update
    points = []
    for step, figures in sorted(row.by_step.items()):
        figure = figures.get(measure, NOTHING)
        if math.isnan(figure.value):
            continue
        taken = step == row.step
        said = comparison.mark(row) if taken else ""
        if said == TAKE:
            mark = "chosen"
        elif said == AS_GOOD or (not taken and (row.label, step) in comparison.tied_steps):
            mark = "tied"
        else:
            mark = "taken" if taken else ""
        points.append(Point(step, step * each, figure.value, figure.low, figure.high, mark))
    return points


def parallel(comparison: Comparison, colours: Colours) -> dict[str, Any] | None:
    """Each row as a line across the settings that differ, its samples and its measures; None where there is too little
    to cross."""
    rows, keys = comparison.rows, apart(comparison)
    if len(rows) < MIN_ROWS or len(keys) < MIN_KEYS:
        return None
    axes = [_axis_of_setting(key, [row.settings.get(key, "–") for row in rows]) for key in keys]
    axes.append(_axis_of_numbers("samples", [float(row.samples) for row in rows], "{:,.0f}"))
    axes += [_axis_of_numbers(name, [_value(row, name) for row in rows], "{:.2f}") for name in (*RULE, "score")]
    axes = [axis for axis in axes if len(set(axis["places"])) > 1]  # the others say nothing
    for i, axis in enumerate(axes):
        axis["x"] = MARGIN_PX + AXIS_PX * i
    lines = []
    for row in _choice_last(rows, comparison):
        place = rows.index(row)
        found = [(axis["x"], axis["places"][place]) for axis in axes]
        parts = [f"{x},{y}" if y is not None else "" for x, y in found]
        told = ", ".join(f"{axis['title']} {axis['texts'][place]}" for axis in axes)
        mark = comparison.mark(row)
        is_choice, suffix = mark == TAKE, f" ({mark})" if mark else ""
        lines.append({"colour": colours[id(row)], "is_choice": is_choice, "path": _path(parts),
                      "dots": [{"x": x, "y": y} for x, y in found if y is not None],
                      "text": f"{row.label}{suffix}: {told}"})  # fmt: skip
    return {"width": 2 * MARGIN_PX + AXIS_PX * (len(axes) - 1), "height": PARALLEL_HEIGHT, "top": AXIS_TOP,
            "bottom": AXIS_BOTTOM, "axes": axes, "lines": lines}  # fmt: skip


def apart(comparison: Comparison) -> list[str]:
    """The settings that differ, without those that always change together with one before.

    What somebody chose stands for what was worked out from it.
    """

    def is_worked_out(key: str) -> bool:
        return any(setting(key, row.settings, row.auto, comparison.usual).is_auto for row in comparison.rows)

    found: dict[tuple[int, ...], str] = {}
    for key in sorted(comparison.differing, key=is_worked_out):
        values = [row.settings.get(key) for row in comparison.rows]
        found.setdefault(tuple(values.index(value) for value in values), key)
    return list(found.values())


def _axis_of_setting(key: str, texts: Sequence[str]) -> dict[str, Any]:
    values = list(dict.fromkeys(texts))
    try:
        values.sort(key=float)
    except ValueError:
        values.sort()
    step = (AXIS_BOTTOM - AXIS_TOP) / max(1, len(values) - 1)
    places = {value: round(AXIS_BOTTOM - i * step, 1) for i, value in enumerate(values)}
    ticks = [{"at": place, "text": value} for value, place in places.items()] if len(values) <= MAX_VALUES else []
    return {"title": key, "texts": texts, "places": [places[text] for text in texts], "ticks": ticks}


def _axis_of_numbers(name: str, values: Sequence[float], form: str) -> dict[str, Any]:
    known = [value for value in values if not math.isnan(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)

    def y(value: float) -> float | None:
        if math.isnan(value):
            return None
        return round(AXIS_BOTTOM - (AXIS_BOTTOM - AXIS_TOP) * (value - low) / (high - low or 1.0), 1)

    texts = ["–" if math.isnan(value) else form.format(value) for value in values]
    ticks = [{"at": y(value), "text": form.format(value)} for value in dict.fromkeys([low, high])] if known else []
    return {"title": name, "texts": texts, "places": [y(value) for value in values], "ticks": ticks}


def _value(row: Row, name: str) -> float:
    figure = None if name in row.gaps else row.figures.get(name)
    return math.nan if figure is None else figure.value


def _path(points: Sequence[str]) -> str:
    """A line through the points that are there; it begins anew after one that is not."""
    return " ".join(
        f"{'L' if i and points[i - 1] else 'M'}{point}" for i, point in enumerate(points) if point
    )  # fmt: skip


def _choice_last(rows: Sequence[Row], comparison: Comparison) -> list[Row]:
    """The best on top, and the choice over them."""
    worst_first = rows[::-1]
    return sorted(worst_first, key=lambda row: row is comparison.choice)
