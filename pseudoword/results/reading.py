"""The outputs of one experiment, read and held against each other."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pseudoword.captions.table import CAPTIONS
from pseudoword.doctor.report import REPORT, Report
from pseudoword.formats.reading import Learned
from pseudoword.records import BadRecord, Choice, JudgesRecord, Record, RunRecord, read_record
from pseudoword.results.chosen import read_chosen
from pseudoword.results.places import CHOICE, JUDGES, METRICS, PICTURES, PICTURES_TABLE, SCORES, TRAINING, WORDS
from pseudoword.results.scale import on_one_scale
from pseudoword.results.tables import count_weighted, read_measured, read_scores, read_table
from pseudoword.settings.naming import natural_order


class Measured(Record):
    loss: float | None = None
    similarity: float | None = None
    likeness: float | None = None
    identity: float | None = None
    obedience: float | None = None
    variety: float | None = None


class Metrics(Record):
    """outputs/choice/metrics.json: the chosen checkpoint, and what the init text of its run draws."""

    chosen: Measured
    init: Measured


@dataclass(frozen=True, eq=False)
class RunResults:
    name: str
    record: RunRecord
    losses: pd.DataFrame  # step, loss, learn_rate, norm


@dataclass(frozen=True, eq=False)
class Results:
    """Tables as docs/files.md has them, text as str, absent numbers as NaN; pictures by id or by name in the table."""

    choice: Choice
    metrics: Metrics
    doctor: Report
    runs: dict[str, RunResults]
    scores: pd.DataFrame
    pictures: pd.DataFrame
    captions: pd.DataFrame
    weighted: int  # pictures that have a loss weight by place
    picture_files: dict[str, Path]
    measured: pd.DataFrame  # a row for each drawn picture
    judges: JudgesRecord
    learned: Learned  # of the chosen checkpoint, as `export` writes it


def read_results(root: Path = Path()) -> Results:
    """Read what the pipeline made in the folder `root`. Raises a UserError that names the file that does not fit."""
    choice, runs = read_record(root / CHOICE, Choice), _read_runs(root)
    if choice.run not in runs:
        raise BadRecord(root / CHOICE, f"run {choice.run} has no folder in {WORDS}")
    judges = read_record(root / JUDGES, JudgesRecord)
    results = Results(
        choice=choice,
        metrics=read_record(root / METRICS, Metrics),
        doctor=read_record(root / REPORT, Report),
        runs=runs,
        scores=read_scores(root / SCORES),
        pictures=read_table(root / PICTURES_TABLE, text=("id", "source", "state", "reason")),
        captions=read_table(root / CAPTIONS, text=("id", "caption", "origin", "draft")),
        weighted=count_weighted(root),
        picture_files={path.stem: path for path in sorted((root / PICTURES).glob("*.png"))},
        measured=on_one_scale(read_measured(root), judges),
        judges=judges,
        learned=read_chosen(choice, root),
    )
    _check_choice(results, root)
    _check_pictures(results, root)
    return results


def _read_runs(root: Path) -> dict[str, RunResults]:
    numbers = ("step", "loss", "learn_rate", "norm")
    return {
        folder.name: RunResults(
            folder.name,
            read_record(folder / "settings.json", RunRecord),
            read_table(root / TRAINING / folder.name / "loss.csv", numbers=numbers),
        )
        for folder in sorted((root / WORDS).glob("*/"), key=lambda folder: natural_order(folder.name))
    }


def _check_choice(results: Results, root: Path) -> None:
    choice, scores, path = results.choice, results.scores, root / CHOICE
    if unknown := set(scores.run) - set(results.runs):
        raise BadRecord(root / SCORES, f"run {min(unknown)} has no folder in {WORDS}")
    if scores[(scores.run == choice.run) & (scores.step == choice.step)].empty:
        raise BadRecord(path, f"step {choice.step} of run {choice.run} is not in {SCORES.name}")


def _check_pictures(results: Results, root: Path) -> None:
    used = set(results.pictures.id[results.pictures.state == "used"])
    if not used:
        raise BadRecord(root / PICTURES_TABLE, "no picture was used")
    if missing := used - set(results.picture_files):
        raise BadRecord(root / PICTURES, f"{min(missing)}.png is missing")
    if missing := used - set(results.captions.id):
        raise BadRecord(root / CAPTIONS, f"picture {min(missing)} has no caption")
