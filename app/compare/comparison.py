"""Experiments and the runs in them, held against each other as far as they were measured in the same way.

The first experiment is the one that the others are held against: what was measured by other judges, against other
training pictures or on pictures drawn otherwise is a gap with a reason, never a number beside another. Every figure is
over the prompts and seeds that the rows share.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from app.compare.experiments import Experiment, Gap, choose_settings
from app.compare.settings import shipped_values
from pseudoword.errors import UserError
from pseudoword.records import Scale
from pseudoword.results.costs import Cost, cost_of
from pseudoword.results.effects import Effect, Trained, interactions, main_effects
from pseudoword.results.resolved import resolved
from pseudoword.results.scale import PAIR, by_cell, with_likeness
from pseudoword.results.scores import best_of_run
from pseudoword.results.settings import plain
from stages.check.writing import MACHINE_KEYS
from stages.choose.scoring import rule_of
from stages.choose.selection import RULE, SAMPLES, Candidate, Figure, figure, select

SHOWN = (*RULE, "variety", "copying", "overbaked")
OF_PICTURES = ("likeness", "identity", "copying", "overbaked")  # measured against the training pictures
OF_CAPTIONS = ("obedience", "variety")  # by the text judge, in part against the captions of the training pictures
# Against the controls of all prompts and seeds: beside others the same picture has another value, unlike its likeness.
OF_ALL_CELLS = ("identity", "obedience", "variety", "overbaked")
DRAWING = ("evaluate.guidance", "evaluate.inference_steps")  # another value draws other pictures of the same word
# Sections of settings that say what was learned from and how; the others say how it was looked at.
LEARNING = ("base", "caption", "curate", "data", "hypernetwork", "latents", "preprocess", "train", "word")
NOT_LEARNED_FROM = (*MACHINE_KEYS, "word.overwrite", "train.save_every", "train.log_every", "train.tensorboard")
LEARN = "train.learn"
PICTURES = "pictures"  # the training pictures, as a setting
SAMPLES_PER_UPDATE = "train.samples_per_update"  # train.batch x train.accumulation, as a setting
MIN_CELLS = 4  # pictures of equal prompt and seed, below which nothing is said
TOO_FEW_PICTURES = (
    f"fewer than {MIN_CELLS} pictures of each checkpoint tell nothing, and more evaluate.seeds or evaluate.prompts "
    "draw more"
)
TAKE, AS_GOOD = "take this", "as good"
MAX_LEVELS = 3e-5  # how far the ends of a scale may lie apart and be one: more than another number of threads brings

Cell = tuple[str, int]  # prompt and seed
Floats = NDArray[np.float64]


class NothingToCompare(UserError):
    def __init__(self, gaps: Sequence[Gap]) -> None:
        super().__init__(f"nothing can be compared. {'. '.join(f'{gap.name}: {gap.reason}' for gap in gaps)}.")


@dataclass(eq=False)
class Row:
    """A run with the checkpoint that its experiment took of it."""

    experiment: Experiment
    run: str
    step: int
    drawn: pd.DataFrame  # its pictures of all steps, without the controls
    start: pd.DataFrame  # of the same prompts and noise, what its start draws
    every: dict[str, str]  # each setting as written in params.yaml, or as `auto` came to it
    auto: set[str]  # keys of those that were worked out
    gaps: dict[str, str] = field(default_factory=dict)  # by measure, why it has no figure here
    by_step: dict[int, dict[str, Figure]] = field(default_factory=dict)  # of what was drawn, by measure and `score`
    label: str = ""
    veto: str = ""  # why it is ruled out here

    @cached_property
    def settings(self) -> dict[str, str]:
        """Those that say what was learned from, and how."""
        return {key: value for key, value in self.every.items() if _is_learned_from(key)}

    @property
    def cost(self) -> Cost | None:
        """Of its run to the end, and of looking at it; None where an earlier version did not write down enough."""
        record, settings = self.experiment.runs[self.run], self.experiment.settings
        wanted = [settings.get(f"evaluate.{key}") for key in ("timesteps", "inference_steps", "guidance")]
        if None in wanted:
            return None
        levels, inference_steps, guidance = (float(str(value)) for value in wanted)
        scored = self.experiment.scores[self.experiment.scores["run"] == self.run]
        return cost_of(
            int(scored["step"].max()) * record.samples_per_update, len(scored), record.pictures, int(levels),
            len(self.drawn), int(inference_steps), guidance,
        )  # fmt: skip

    @property
    def samples(self) -> int:
        """That the checkpoint has seen; each went through the UNet once."""
        return self.step * self.experiment.runs[self.run].samples_per_update

    @property
    def figures(self) -> dict[str, Figure]:
        return self.by_step.get(self.step, {})

    def at_choice(self) -> pd.DataFrame:
        return self.drawn[self.drawn["step"] == self.step]

    @property
    def scale(self) -> Scale:
        return self.experiment.judges.likeness.get(self.run, Scale())


@dataclass(frozen=True, eq=False)
class Comparison:
    rows: list[Row]  # the choice first, then by score, then what has none
    better_than_init: bool  # whether anything is; else all that have a score are ruled out
    choice: Row  # of those with a score, the cheapest that ties with the best; where all are ruled out the least bad
    best: Row  # of the highest score
    tied: list[Row]
    tied_steps: set[tuple[str, int]]  # by label and step, what ties of all that was drawn
    sure: float  # share of the resampled evidence in which the choice is within a hair of the best
    differing: list[str]  # keys of LEARNING that differ between rows
    effects: list[Effect]
    interactions: list[Effect]
    repeated: bool  # whether some setting was trained more than once
    usual: dict[str, str]  # the shipped value of each setting that has one
    gaps: list[Gap]
    cells: list[Cell]  # prompts and seeds that all compared rows have

    def mark(self, row: Row) -> str:
        """What is said of a row in a word: TAKE, AS_GOOD, or nothing."""
        if not self.better_than_init:
            return ""
        return TAKE if row is self.choice else AS_GOOD if row in self.tied else ""


def compare(experiments: Sequence[Experiment], gaps: Sequence[Gap]) -> Comparison:
    """Needs an experiment. Raises NothingToCompare."""
    rows = [row for experiment in experiments for row in _rows_of(experiment)]
    differing = _differing(rows)
    _label(rows)
    if len(_cells(rows[0])) < MIN_CELLS:
        raise NothingToCompare([Gap(experiments[0].name, TOO_FEW_PICTURES)])
    for row in rows:
        row.gaps = dict(_gaps(row, rows[0]))
    cells = _shared_cells(rows)
    measured = [row for row in rows if not set(RULE) & set(row.gaps)]
    _bring_to_one_scale([row for row in rows if "likeness" not in row.gaps], cells)
    values = {id(row): _values(row, cells) for row in rows if set(SHOWN) - set(row.gaps)}
    taken = [Candidate(row.label, row.samples, values[id(row)][row.step]) for row in measured]
    drawn = [Candidate(row.label, step, found) for row in measured for step, found in values[id(row)].items()]
    rule, seeds = rule_of(choose_settings(experiments[0].settings)), len({seed for _, seed in cells})
    selection, of_all = select(taken, rule, seeds), select(drawn, rule, seeds)
    for row in rows:
        if row in measured:
            row.by_step = {step: of_all.figures[row.label, step] for step in values[id(row)]}
            row.veto = str(selection.vetoes.get((row.label, row.samples), ""))
        elif id(row) in values:
            row.by_step = {step: dict(_figures(row, found)) for step, found in values[id(row)].items()}
    named = {(row.label, row.samples): row for row in measured}
    trained = [
        Trained({key: row.settings.get(key, "") for key in differing}, values[id(row)][row.step]) for row in measured
    ]
    usual = shipped_values()
    effects = main_effects(trained, SHOWN, usual)
    choice = named[selection.chosen.key]
    return Comparison(
        rows=sorted(rows, key=lambda row: (row is not choice, -_or_least(row.figures.get("score")))),
        better_than_init=selection.better_than_init,
        choice=choice,
        best=named[selection.best.key],
        tied=[named[candidate.key] for candidate in selection.tied],
        tied_steps={candidate.key for candidate in of_all.tied if of_all.better_than_init},
        sure=selection.sure or 0.0,  # it is known from MIN_CELLS pictures on
        differing=differing,
        effects=effects,
        interactions=interactions(trained, SHOWN, usual),
        repeated=any(effect.trainings > 1 for effect in effects),
        usual=usual,
        gaps=list(gaps),
        cells=cells,
    )


def _rows_of(experiment: Experiment) -> Iterator[Row]:
    for run, record in experiment.runs.items():
        taken = _taken(experiment, run)
        if taken is not None:
            values, auto = resolved(
                experiment.settings, record, experiment.judges, experiment.weighted, experiment.project
            )
            values |= {PICTURES: experiment.pictures, SAMPLES_PER_UPDATE: record.samples_per_update}
            written = {key: plain(value) for key, value in values.items()}
            of_run = experiment.measured[experiment.measured["run"] == run]
            drawn, start = (of_run[of_run["control"] == control] for control in ("", "init"))
            yield Row(experiment, run, int(taken["step"]), drawn, start, written, auto)


def _taken(experiment: Experiment, run: str) -> "pd.Series[Any] | None":
    """Of a run the checkpoint that stands for it, ruled out where all are; None where none was drawn."""
    scores = experiment.scores[experiment.scores["run"] == run].dropna(subset=["score"])
    for rows in (best_of_run(scores), scores.sort_values("score", ascending=False, kind="stable")):
        if len(rows):
            return rows.iloc[0]
    return None


def _is_learned_from(key: str) -> bool:
    if key in NOT_LEARNED_FROM or key.startswith("train.preview."):
        return False
    return key.split(".")[0] in LEARNING or key == PICTURES or key.startswith("templates/training")


def _differing(rows: Sequence[Row]) -> list[str]:
    """What is learned first; a setting of words alone differs where two words do, one of hypernetworks likewise."""
    known = {(row.settings.get(LEARN), key) for row in rows for key in row.settings}
    keys = dict.fromkeys([LEARN, *(key for row in rows for key in row.settings)])

    def values(key: str) -> set[str | None]:
        return {row.settings.get(key) for row in rows if (row.settings.get(LEARN), key) in known}

    return [key for key in keys if len(values(key)) > 1]


def _label(rows: Sequence[Row]) -> None:
    several = len({row.experiment.name for row in rows}) > 1
    for row in rows:
        alone = len(row.experiment.runs) == 1
        name = row.experiment.name
        row.label = row.run if not several else name if alone else f"{name} · {row.run}"


def _gaps(row: Row, first: Row) -> Iterator[tuple[str, str]]:
    mine, theirs = row.experiment, first.experiment
    for key in DRAWING:
        if mine.settings.get(key) != theirs.settings.get(key):
            found, wanted = plain(mine.settings.get(key)), plain(theirs.settings.get(key))
            yield from dict.fromkeys((*SHOWN, "score"), f"drawn with {key} {found}, not {wanted}").items()
            return
    reason = ""
    if mine.pictures != theirs.pictures:
        reason = "measured against other training pictures"
    elif (mine.judges.images, mine.judges.kind) != (theirs.judges.images, theirs.judges.kind):
        reason = f"judged by {mine.judges.images}, not {theirs.judges.images}"
    elif not _is_one(row.scale.one, first.scale.one):
        reason = "its training pictures have another likeness among themselves"
    yield from ((name, reason) for name in (*OF_PICTURES, "score") if reason)
    text_reason = ""
    if mine.judges.texts != theirs.judges.texts:
        text_reason = f"judged by {mine.judges.texts}, not {theirs.judges.texts}"
    elif not _is_one(mine.judges.obedience.one, theirs.judges.obedience.one):
        text_reason = "held against other captions"
    yield from ((name, text_reason) for name in (*OF_CAPTIONS, "score") if text_reason)


def _is_one(mine: float | None, theirs: float | None) -> bool:
    if mine is None or theirs is None:
        return mine is theirs
    return math.isclose(mine, theirs, abs_tol=MAX_LEVELS)


def _cells(row: Row) -> list[Cell]:
    return list(dict.fromkeys(row.at_choice()[PAIR].itertuples(index=False, name=None)))


def _shared_cells(rows: Sequence[Row]) -> list[Cell]:
    """In the order of the first row. What shares too few of them has a gap in all, what has others besides in what
    depends on all of them."""
    own = _cells(rows[0])
    shared = set(own)
    for row in rows:
        mine = set(_cells(row))
        if not set(SHOWN) - set(row.gaps):
            continue
        if len(shared & mine) < MIN_CELLS:
            row.gaps |= dict.fromkeys((*SHOWN, "score"), f"it shares fewer than {MIN_CELLS} prompts and seeds")
            continue
        shared &= mine
        if mine != set(own):
            row.gaps |= dict.fromkeys((*OF_ALL_CELLS, "score"), "measured over other prompts or seeds")
    return [cell for cell in own if cell in shared]


def _bring_to_one_scale(rows: Sequence[Row], cells: list[Cell]) -> None:
    """Measure likeness of all from what one start draws of these pictures: as in the stage, from the start that is the
    most like the training pictures. A picture that it did not draw has none."""
    one = rows[0].scale.one
    if one is None:
        return
    starts = [by_cell(row.start) for row in rows]
    nearest = max(range(len(rows)), key=lambda i: starts[i].loc[cells].mean())
    start = starts[nearest]
    way = one - start.loc[cells].mean()
    for row in rows:
        row.drawn = with_likeness(row.drawn, start, way)


def _values(row: Row, cells: list[Cell]) -> dict[int, dict[str, Floats]]:
    """By step, of each measure the values of these pictures, (P,)."""
    tables = {step: part.set_index(PAIR).loc[cells] for step, part in row.drawn.groupby("step")}
    return {
        int(str(step)): {name: table[name].to_numpy(float) for name in (*SHOWN, "broken")}
        for step, table in tables.items()
    }


def _figures(row: Row, values: Mapping[str, Floats]) -> Iterator[tuple[str, Figure]]:
    """Of what can be compared of a row that has no score."""
    pictures = len(values["broken"])
    samples = np.random.default_rng(0).integers(pictures, size=(SAMPLES, pictures))
    yield from ((name, figure(name, values[name], samples)) for name in SHOWN if name not in row.gaps)


def _or_least(score: Figure | None) -> float:
    return -1.0 if score is None or math.isnan(score.value) else score.value
