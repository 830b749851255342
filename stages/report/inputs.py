"""What the report shows, read from the files of the other stages and held against each other."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pseudoword.doctor.report import Report
from pseudoword.errors import UserError
from pseudoword.formats.embedding import Embedding
from pseudoword.formats.reading import read_embedding
from pseudoword.formats.writing import EXTENSIONS
from pseudoword.records import Choice, Record, RunRecord, read_record


class BadInput(UserError):
    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}. It is an output of the pipeline; `dvc repro` makes it again.")


class Measured(Record):
    loss: float
    image_similarity: float | None = None
    text_similarity: float | None = None


class Metrics(Record):
    """outputs/evaluation/metrics.json: the chosen checkpoint and the start of its run."""

    chosen: Measured
    init: Measured


@dataclass(frozen=True, eq=False)
class Run:
    name: str
    record: RunRecord
    losses: pd.DataFrame  # step, loss, learn_rate, norm


@dataclass(frozen=True, eq=False)
class Inputs:
    """Tables as docs/files.md has them, text as str, absent numbers as NaN; pictures by id or by name in the table."""

    choice: Choice
    metrics: Metrics
    doctor: Report
    runs: dict[str, Run]
    scores: pd.DataFrame
    pictures: pd.DataFrame
    captions: pd.DataFrame
    picture_files: dict[str, Path]
    drawn: pd.DataFrame
    embedding_files: list[Path]  # the same word in several formats, the best one first
    embedding: Embedding


def read_inputs(outputs: Path) -> Inputs:
    """Read all files below `outputs`. Raises a UserError that names the file which is missing or does not fit."""
    evaluation = outputs / "evaluation"
    choice = read_record(evaluation / "choice.json", Choice)
    written = [outputs / "embedding" / f"{choice.word}{suffix}" for suffix in EXTENSIONS]
    embedding_files = [path for path in written if path.exists()] or written[:1]
    inputs = Inputs(
        choice=choice,
        metrics=read_record(evaluation / "metrics.json", Metrics),
        doctor=read_record(outputs / "doctor.json", Report),
        runs=_read_runs(outputs / "words"),
        scores=_read_scores(evaluation / "scores.csv"),
        pictures=_read_table(outputs / "pictures.csv", text=("id", "source", "state", "reason")),
        captions=_read_table(outputs / "captions.csv", text=("id", "caption", "origin", "draft")),
        picture_files={path.stem: path for path in sorted((outputs / "pictures").glob("*.png"))},
        drawn=_read_drawn(evaluation / "sheets", choice.word),
        embedding_files=embedding_files,
        embedding=read_embedding(embedding_files[0]),
    )
    _check_choice(inputs, evaluation / "choice.json")
    _check_pictures(inputs, outputs)
    return inputs


def _read_runs(words: Path) -> dict[str, Run]:
    numbers = ("step", "loss", "learn_rate", "norm")
    return {
        folder.name: Run(
            folder.name,
            read_record(folder / "settings.json", RunRecord),
            _read_table(folder / "loss.csv", numbers=numbers),
        )
        for folder in sorted(words.glob("*/"))
    }


def _read_scores(path: Path) -> pd.DataFrame:
    numbers = ("step", "loss", "image_similarity", "text_similarity", "score")
    table = _read_table(path, text=("run", "veto", "chosen"), numbers=numbers)
    return table.assign(chosen=table.chosen.str.lower() == "true").sort_values(["run", "step"], ignore_index=True)


def _read_drawn(sheets: Path, word: str) -> pd.DataFrame:
    """The table of the drawn pictures, prompts with the word in them, `file` with the folder before it."""
    path = sheets / "pictures.csv"
    drawn = _read_table(path, text=("run", "prompt", "file"), numbers=("step", "seed"))
    for file in drawn.file:
        if not (sheets / file).resolve().is_relative_to(sheets.resolve()):
            raise BadInput(path, f"{file!r} is not in {sheets}")
    prompts = drawn.prompt.str.replace("[name]", word, regex=False)
    return drawn.assign(prompt=prompts, file=[sheets / file for file in drawn.file])


def _read_table(path: Path, text: Iterable[str] = (), numbers: Iterable[str] = ()) -> pd.DataFrame:
    """Read the named columns of a CSV. Everything is text at first: a caption may be 'NA', and an id look like 1e10."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        table = table[[*text, *numbers]]
        return table.assign(**{column: pd.to_numeric(table[column]) for column in numbers})
    except KeyError as error:
        raise BadInput(path, str(error.args[0])) from None
    except (OSError, ValueError) as error:
        raise BadInput(path, str(error)) from None


def _check_choice(inputs: Inputs, path: Path) -> None:
    choice, scores = inputs.choice, inputs.scores
    if unknown := set(scores.run) - set(inputs.runs):
        raise BadInput(path.with_name("scores.csv"), f"run {min(unknown)} has no folder in outputs/words")
    if choice.run not in inputs.runs:
        raise BadInput(path, f"run {choice.run} has no folder in outputs/words")
    if scores[(scores.run == choice.run) & (scores.step == choice.step)].empty:
        raise BadInput(path, f"step {choice.step} of run {choice.run} is not in scores.csv")
    if inputs.embedding.name != choice.word:
        raise BadInput(inputs.embedding_files[0], f"it holds the word '{inputs.embedding.name}', not '{choice.word}'")


def _check_pictures(inputs: Inputs, outputs: Path) -> None:
    used = set(inputs.pictures.id[inputs.pictures.state == "used"])
    if not used:
        raise BadInput(outputs / "pictures.csv", "no picture was used")
    if missing := used - set(inputs.picture_files):
        raise BadInput(outputs / "pictures", f"{min(missing)}.png is missing")
    if missing := used - set(inputs.captions.id):
        raise BadInput(outputs / "captions.csv", f"picture {min(missing)} has no caption")
