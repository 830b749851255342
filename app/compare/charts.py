"""Charts as plain values for the template: lines over samples with their intervals, places in px."""

import math
from collections.abc import Sequence
from typing import Any

from app.compare.comparison import Row

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 560, 300, 44, 546, 12, 270
X_TICKS, Y_STEP = 4, 0.25


def chart(measure: str, rows: Sequence[Row], colours: dict[int, Any]) -> dict[str, Any]:
    """A measure by samples, of the rows that have it."""
    points = {id(row): _points(measure, row) for row in rows if measure not in row.gaps}
    ends = [end for line in points.values() for point in line for end in point[2:4]]
    low, high = min([0.0, *ends]), max([1.0, *ends])
    most = max([1, *(point[1] for line in points.values() for point in line)])

    def x(samples: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * samples / most, 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low), 1)

    lines = []
    for row in reversed(rows):  # the best on top
        line = points.get(id(row), [])
        upper = [f"{x(samples)},{y(top)}" for _, samples, _, top, _ in line]
        lower = [f"{x(samples)},{y(bottom)}" for _, samples, bottom, _, _ in reversed(line)]
        dots = [
            {
                "x": x(samples), "y": y(value), "is_taken": step == row.step,
                "text": f"{row.label}, step {step}, {samples} samples: {measure} {value:.2f} ({bottom:.2f}–{top:.2f})",
            }
            for step, samples, bottom, top, value in line
        ]  # fmt: skip
        path = "M" + " L".join(f"{dot['x']},{dot['y']}" for dot in dots) if dots else ""
        band = f"M{' L'.join([*upper, *lower])}Z" if len(line) > 1 else ""
        lines.append({"colour": colours[id(row)], "path": path, "band": band, "dots": dots})
    levels = [i * Y_STEP for i in range(math.ceil(low / Y_STEP), math.floor(high / Y_STEP) + 1)]
    return {
        "title": measure.capitalize(), "width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "lines": lines,
        "y_ticks": [{"at": y(level), "text": f"{level:g}"} for level in levels],
        "x_ticks": [{"at": x(most * i / X_TICKS), "text": f"{most * i / X_TICKS:.0f}"} for i in range(X_TICKS + 1)],
    }  # fmt: skip


def _points(measure: str, row: Row) -> list[tuple[int, int, float, float, float]]:
    """Step, samples, low, high and value of each drawn checkpoint."""
    scores = row.experiment.scores
    drawn = scores[(scores["run"] == row.run) & scores[measure].notna()].sort_values("step")
    each = row.experiment.runs[row.run].samples_per_update
    columns = ["step", f"{measure}_low", f"{measure}_high", measure]
    return [(int(s), int(s) * each, low, high, value) for s, low, high, value in drawn[columns].itertuples(index=False)]
