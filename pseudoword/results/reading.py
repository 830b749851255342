"""The outputs of one experiment, read and held against each other."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pseudoword.captions.table import CAPTIONS
from pseudoword.doctor.report import REPORT, Report
from pseudoword.formats.writing import EXTENSIONS
from pseudoword.learned import Learned, read_learned
from pseudoword.pictures.prepared import PICTURES, TABLE
from pseudoword.records import BadRecord, Choice, Record, RunRecord, read_record
from pseudoword.results.places import CHOICE, EMBEDDING, METRICS, SCORES, TRAINING, WORDS
from pseudoword.results.tables import read_drawn, read_scores, read_table
from pseudoword.settings.naming import natural_order


class Measured(Record):
    loss: float
    image_similarity: float | None = None
    text_similarity: float | None = None


class Metrics(Record):
    """outputs/evaluation/metrics.json: the chosen checkpoint and the start of its run."""

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
    picture_files: dict[str, Path]
    drawn: pd.DataFrame
    learned_files: list[Path]  # the same word or hypernetwork in several formats, the best one first
    learned: Learned


def read_results(root: Path = Path()) -> Results:
    """Read what the pipeline made in the folder `root`. Raises a UserError that names the file that does not fit."""
    choice = read_record(root / CHOICE, Choice)
    written = [root / EMBEDDING / f"{choice.word}{suffix}" for suffix in EXTENSIONS]
    learned_files = [path for path in written if path.exists()] or written[:1]
    results = Results(
        choice=choice,
        metrics=read_record(root / METRICS, Metrics),
        doctor=read_record(root / REPORT, Report),
        runs=_read_runs(root),
        scores=read_scores(root / SCORES),
        pictures=read_table(root / TABLE, text=("id", "source", "state", "reason")),
        captions=read_table(root / CAPTIONS, text=("id", "caption", "origin", "draft")),
        picture_files={path.stem: path for path in sorted((root / PICTURES).glob("*.png"))},
        drawn=read_drawn(choice.word, root),
        learned_files=learned_files,
        learned=read_learned(learned_files[0]),
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
    if choice.run not in results.runs:
        raise BadRecord(path, f"run {choice.run} has no folder in {WORDS}")
    if scores[(scores.run == choice.run) & (scores.step == choice.step)].empty:
        raise BadRecord(path, f"step {choice.step} of run {choice.run} is not in {SCORES.name}")
    if results.learned.name != choice.word:
        raise BadRecord(results.learned_files[0], f"it holds '{results.learned.name}', not '{choice.word}'")


def _check_pictures(results: Results, root: Path) -> None:
    used = set(results.pictures.id[results.pictures.state == "used"])
    if not used:
        raise BadRecord(root / TABLE, "no picture was used")
    if missing := used - set(results.picture_files):
        raise BadRecord(root / PICTURES, f"{min(missing)}.png is missing")
    if missing := used - set(results.captions.id):
        raise BadRecord(root / CAPTIONS, f"picture {min(missing)} has no caption")
