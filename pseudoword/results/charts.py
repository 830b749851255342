"""Charts as SVG that takes its colours and its font from the page, so that it fits light, dark and paper.

Drawn with matplotlib in stand-in colours that are exchanged for CSS variables at the end. The same data give the same
bytes: ids come from a fixed salt, and no date is written.
"""

import io
import re
from collections.abc import Callable
from typing import Any

import matplotlib
import pandas as pd
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from pseudoword.results.reading import Results, RunResults

NUM_SERIES = 6  # colours that the eye can keep apart; further runs share the quiet one
INK, QUIET, GRID, PAPER = "#000001", "#000002", "#000003", "#000004"
SERIES = [f"#0001{i:02x}" for i in range(NUM_SERIES)]
VARIABLES = {INK: "ink", QUIET: "quiet", GRID: "line", PAPER: "paper"} | {
    colour: f"series-{i}" for i, colour in enumerate(SERIES)
}
STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "text.parse_math": False,  # a run's name may hold a dollar sign
    "text.color": INK,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": QUIET,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": GRID,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "ytick.left": False,
    "figure.facecolor": "none",
}
WIDE, NARROW = (5.8, 2.9), (4.6, 2.7)  # inches of 72 px, where a row of the page holds two and three
LIKE = "the pictures among themselves"  # what 1 stands for
OBEDIENT = {"captions": "the pictures with their captions", "controls": "nothing in its place"}  # likewise, by source
MAX_POINTS = 800  # of a line: more are not seen, but weigh


def series_of(runs: dict[str, RunResults], chosen: str) -> dict[str, int | None]:
    """The number of each run's colour: the chosen run has the first, the others the next ones, then None."""
    order = [chosen, *(name for name in runs if name != chosen)]
    return {name: i if i < NUM_SERIES else None for i, name in enumerate(order)}


def training_charts(results: Results) -> dict[str, Markup]:
    """By name: the loss, the learning rate and the vectors' norm over the steps, all runs in one."""
    return {
        "loss": _chart("loss", lambda axes: _draw_losses(axes, results), NARROW),
        "learn_rate": _chart("learn_rate", lambda axes: _draw_learn_rates(axes, results), NARROW),
        "norm": _chart("norm", lambda axes: _draw_norms(axes, results), NARROW),
    }


def score_charts(results: Results) -> dict[str, Markup]:
    """By name: each score over the steps, and likeness against obedience."""
    obedient = OBEDIENT.get(results.judges.obedience.source, "")
    return {
        "held_loss": _chart("held_loss", lambda axes: _draw_scores(axes, results, "loss"), WIDE),
        "likeness": _chart("likeness", lambda axes: _draw_scores(axes, results, "likeness", LIKE), WIDE),
        "obedience": _chart("obedience", lambda axes: _draw_scores(axes, results, "obedience", obedient), WIDE),
        "front": _chart("front", lambda axes: _draw_front(axes, results), WIDE),
    }


def _draw_losses(axes: Axes, results: Results) -> None:
    for name, run in _chosen_last(results):
        losses, colour = _thinned(run.losses), _colour(results, name)
        smooth = run.losses.loss.ewm(span=max(5, len(run.losses) / 15)).mean()
        axes.plot(losses.step, losses.loss, color=colour, linewidth=0.6, alpha=0.3)
        axes.plot(losses.step, smooth[losses.index], color=colour, linewidth=1.8)
    # A few outliers would flatten everything else.
    everything = pd.concat([run.losses.loss for run in results.runs.values()])
    low, high = everything.quantile(0.01), everything.quantile(0.99)
    if high > low:
        axes.set_ylim(low - 0.05 * (high - low), high + 0.1 * (high - low))
    _mark_step(axes, results)


def _draw_learn_rates(axes: Axes, results: Results) -> None:
    for name, run in _chosen_last(results):
        losses = _thinned(run.losses)
        axes.plot(losses.step, losses.learn_rate, color=_colour(results, name), linewidth=1.8, drawstyle="steps-pre")
    rates = pd.concat([run.losses.learn_rate for run in results.runs.values()])
    if rates.min() > 0 and rates.max() > 20 * rates.min():
        axes.set_yscale("log")
        # The usual one writes powers between dollar signs, which text in an SVG shows as they are.
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    else:
        _start_at_zero(axes, rates)
    _mark_step(axes, results)


def _draw_norms(axes: Axes, results: Results) -> None:
    for name, run in _chosen_last(results):
        losses = _thinned(run.losses)
        axes.plot(losses.step, losses.norm, color=_colour(results, name), linewidth=1.8)
    norms = pd.concat([run.losses.norm for run in results.runs.values()])
    _start_at_zero(axes, norms)
    _mark_step(axes, results)


def _start_at_zero(axes: Axes, values: "pd.Series[float]") -> None:
    top = values.max()  # not a number where there are no values: the only run broke at its first step
    axes.set_ylim(0, 1.15 * top if top > 0 else 1)


def _draw_scores(axes: Axes, results: Results, column: str, one: str = "") -> None:
    """`one` says what a measure of 1 stands for. The chosen run has its 95 % intervals, where the column has any."""
    for name, _ in _chosen_last(results):
        scores, colour = results.scores[results.scores.run == name].dropna(subset=[column]), _colour(results, name)
        axes.plot(scores.step, scores[column], color=colour, linewidth=1.8, marker="o", markersize=3.5)
        if one and name == results.choice.run:
            ends = scores[f"{column}_low"], scores[f"{column}_high"]
            axes.fill_between(scores.step, *ends, color=colour, alpha=0.15, linewidth=0)
    if one:
        _draw_ceiling(axes, one)
    _mark_step(axes, results)
    _ring(axes, results, "step", column)


def _draw_ceiling(axes: Axes, label: str) -> None:
    axes.axhline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    low, high = axes.get_ylim()
    low = min(low, 0)
    axes.set_ylim(low, max(high, 1 + 0.14 * (1 - low)))  # room for the words above the line
    axes.annotate(label, (0, 1), (2, 4), ("axes fraction", "data"), "offset points", fontsize=10)


def _draw_front(axes: Axes, results: Results) -> None:
    x, y = "obedience", "likeness"
    for name, _ in _chosen_last(results):
        scores = results.scores[results.scores.run == name].dropna(subset=[x, y])
        colour = _colour(results, name)
        axes.plot(scores[x], scores[y], color=colour, linewidth=0.8, alpha=0.5, marker="o", markersize=4)
        if name == results.choice.run:
            labelled = scores[scores.step.isin([scores.step.min(), results.choice.step, scores.step.max()])]
            for step, likeness, obedience in labelled[["step", y, x]].itertuples(index=False):
                point, below = (obedience, likeness), (0, -9)
                axes.annotate(f"step {step}", point, below, "data", "offset points", ha="center", va="top", fontsize=10)
    axes.set_xlabel("obedience to the prompt")
    axes.set_ylabel("likeness to the pictures")
    axes.grid(True, axis="both")
    axes.margins(0.14)
    _ring(axes, results, x, y)


def _chosen_last(results: Results) -> list[tuple[str, RunResults]]:
    """The runs so that the chosen one is drawn over the others."""
    return sorted(results.runs.items(), key=lambda item: item[0] == results.choice.run)


def _colour(results: Results, run: str) -> str:
    series = series_of(results.runs, results.choice.run)[run]
    return QUIET if series is None else SERIES[series]


def _thinned(table: pd.DataFrame) -> pd.DataFrame:
    return table.iloc[:: max(1, -(-len(table) // MAX_POINTS))]


def _mark_step(axes: Axes, results: Results) -> None:
    axes.axvline(results.choice.step, color=INK, linewidth=1, alpha=0.5)
    axes.set_xlabel("steps")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.margins(x=0.02)


def _ring(axes: Axes, results: Results, x: str, y: str) -> None:
    """A ring around the chosen checkpoint, where it has both values."""
    scores = results.scores[(results.scores.run == results.choice.run) & (results.scores.step == results.choice.step)]
    axes.plot(scores[x], scores[y], marker="o", markersize=10, markerfacecolor="none", markeredgecolor=INK)


def _chart(name: str, draw: Callable[[Axes], None], size: tuple[float, float]) -> Markup:
    """Let `draw` fill a figure's axes; its SVG, hidden from screen readers: the page puts it in words and tables."""
    content = io.StringIO()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # whatever a person's own matplotlibrc says
        matplotlib.rcParams.update(STYLE | {"svg.hashsalt": name})
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        figure.savefig(content, format="svg", metadata={"Date": None})
    return Markup(_for_page(content.getvalue(), name))


def _for_page(svg: str, name: str) -> str:
    """Cut what only a file needs, make ids unique on the page, leave font and colours to its style sheet."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = svg.replace("font-family: 'DejaVu Sans'; ", "")
    return re.sub("|".join(VARIABLES), lambda colour: f"var(--{VARIABLES[colour[0]]})", svg)
