"""The results as HTML: plain values for the templates. All text goes through jinja2's autoescape."""

import hashlib
import json
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd

from pseudoword.base.families import pipeline_of
from pseudoword.findings import Finding
from pseudoword.formats.hypernetwork import save_hypernetwork
from pseudoword.formats.reading import Learned
from pseudoword.formats.writing import write_embedding
from pseudoword.hypernetwork import Hypernetwork
from pseudoword.records import RunRecord
from pseudoword.results.charts import score_charts, series_of, training_charts
from pseudoword.results.html import environment
from pseudoword.results.images import EmbeddedImage, data_uri, embed
from pseudoword.results.reading import Results
from pseudoword.results.resolved import resolved
from pseudoword.results.scores import best_of_run
from pseudoword.results.settings import flat, plain
from pseudoword.templates import NAME

# Longest sides of embedded pictures: at the top of the page, in its tables, beside a finding.
TOP_PX, TABLE_PX, FINDING_PX = 512, 256, 160
TOP_PICTURES = 6  # of each kind
FINDING_PICTURES = 12  # beside a finding, at most

Row = dict[Hashable, Any]  # of a table, by column


@dataclass(frozen=True)
class Sheet:
    """The drawn pictures of one run; `rows` are ((prompt, seed), one picture or None per step)."""

    run: str
    steps: list[int]
    rows: list[tuple[tuple[str, int], list[EmbeddedImage | None]]]


@dataclass(frozen=True)
class TrainingPicture:
    """One picture to learn from."""

    picture: EmbeddedImage
    file: str
    caption: str
    origin: str
    draft: str


@dataclass(frozen=True)
class FindingCard:
    """A finding of the doctor with the pictures that it is about; `more` of them are not shown."""

    finding: Finding
    pictures: list[EmbeddedImage]
    more: int


def render(results: Results, settings: dict[str, dict[str, Any]], templates: Path) -> str:
    """The whole page from the `index.html.j2` in the folder `templates`; `settings` are those that no run records."""
    page = environment(templates)
    page.filters |= {"number": number, "percent": percent, "plain": plain}
    page.filters["quoted"] = quoted
    chosen = results.runs[results.choice.run]
    worked_out, auto = resolved(flat(settings), chosen.record, results.judges, results.weighted)
    return page.get_template("index.html.j2").render(
        word=results.choice.word,
        choice=results.choice,
        metrics=results.metrics,
        judges=results.judges,
        interval=interval_of_choice(results),
        record=chosen.record,
        settings=by_section(worked_out),
        auto=auto,
        before_and_after=before_and_after(results),
        charts=score_charts(results) | training_charts(results),
        series=series_of(results.runs, results.choice.run),
        scores=dict(scores_by_run(results)),
        sheets=list(sheets(results)),
        comparison=comparison(results),
        findings=[finding_card(results, finding) for finding in results.doctor.findings],
        left_out=results.doctor.left_out,
        learned=list(learned(results)),
        skipped=results.pictures[results.pictures.state != "used"].to_dict("records"),
        file=file_facts(results),
    )


def by_section(settings: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Settings by dotted key as a table for each section."""
    tables: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        section, _, name = key.partition(".")
        tables.setdefault(section, {})[name] = value
    return tables


def interval_of_choice(results: Results) -> Row:
    """The row of the chosen checkpoint in scores.csv."""
    scores, choice = results.scores, results.choice
    rows: list[Row] = scores[(scores.run == choice.run) & (scores.step == choice.step)].to_dict("records")
    return rows[0]


def before_and_after(results: Results) -> dict[str, list[EmbeddedImage]]:
    """The same few prompts and seeds before and after, one per prompt as far as they reach, beside what was learned.

    portrait  of all that was drawn the picture most like the training pictures, as the exported PNG shows it
    """
    choice = results.choice
    drawn = _column(results, choice.run, choice.step)
    shown = _cells_of(drawn.sort_values("seed", kind="stable"))[:TOP_PICTURES]
    likest = _cells_of(drawn.sort_values("similarity", ascending=False, kind="stable"))[:1]
    return {
        "portrait": [p for p in _cells(results, choice.run, choice.step, likest, TOP_PX) if p],
        "training": [_embed_learned(results, row, TOP_PX) for row in islice(_used(results), TOP_PICTURES)],
        "start": [p for p in _cells(results, choice.run, 0, shown, TOP_PX) if p],
        "chosen": [p for p in _cells(results, choice.run, choice.step, shown, TOP_PX) if p],
    }


def sheets(results: Results) -> Iterator[Sheet]:
    """One per run that was drawn, the chosen run first; equal prompt and seed mean the same noise."""
    for run in series_of(results.runs, results.choice.run):
        drawn = results.measured[(results.measured.run == run) & (results.measured.control != "nothing")]
        if drawn.empty:
            continue
        steps, shown = sorted(set(drawn.step)), _cells_of(drawn)
        columns = [_cells(results, run, step, shown, TABLE_PX) for step in steps]
        rows = [
            ((prompt.replace(NAME, results.choice.word), seed), [column[i] for column in columns])
            for i, (prompt, seed) in enumerate(shown)
        ]
        yield Sheet(run, steps, rows)


def _column(results: Results, run: str, step: int) -> pd.DataFrame:
    """The pictures of a checkpoint; at step 0 those of the start."""
    rows = results.measured
    return rows[(rows.run == run) & (rows.step == step) & (rows.control == ("" if step else "init"))]


def _cells_of(rows: pd.DataFrame) -> list[tuple[str, int]]:
    return list(dict.fromkeys(rows[["prompt", "seed"]].itertuples(index=False, name=None)))


def _cells(
    results: Results, run: str, step: int, shown: list[tuple[str, int]], max_side: int
) -> list[EmbeddedImage | None]:
    """The pictures of a column for each (prompt, seed), None where there is none."""
    rows = _column(results, run, step)
    files = {(row["prompt"], row["seed"]): Path(row["file"]) for row in rows.to_dict("records")}
    drawn = f"Drawn at step {step}" if step else "Drawn at the start"
    return [
        embed(files[key], f"{drawn}: {key[0].replace(NAME, results.choice.word)}, seed {key[1]}", max_side)
        if key in files
        else None
        for key in shown
    ]


def learned(results: Results) -> Iterator[TrainingPicture]:
    captions = {row["id"]: row for row in results.captions.to_dict("records")}
    for row in _used(results):
        caption = captions[row["id"]]
        picture = _embed_learned(results, row, TABLE_PX)
        yield TrainingPicture(picture, row["source"], caption["caption"], caption["origin"], caption["draft"])


def finding_card(results: Results, finding: Finding) -> FindingCard:
    shown = [picture for picture in finding.pictures if picture.id in results.picture_files]
    pictures = [
        embed(results.picture_files[picture.id], f"Training picture {picture.source}", FINDING_PX)
        for picture in shown[:FINDING_PICTURES]
    ]
    return FindingCard(finding, pictures, len(shown) - len(pictures))


def _used(results: Results) -> Iterator[Row]:
    return (row for row in results.pictures.to_dict("records") if row["state"] == "used")


def _embed_learned(results: Results, row: Row, max_side: int) -> EmbeddedImage:
    return embed(results.picture_files[row["id"]], f"Training picture {row['source']}", max_side)


def scores_by_run(results: Results) -> Iterator[tuple[str, list[Row]]]:
    """The rows of each run's checkpoints, the chosen run first."""
    for run in series_of(results.runs, results.choice.run):
        yield run, results.scores[results.scores.run == run].to_dict("records")


def comparison(results: Results) -> dict[str, Any]:
    """`keys`: the settings in which the runs differ; `rows`: by run its values of them and its best checkpoint."""
    settings = {name: flat(run.record.settings) for name, run in results.runs.items()}
    keys = [key for key in settings[results.choice.run] if len({plain(s.get(key)) for s in settings.values()}) > 1]
    rows = {run: {"values": [settings[run].get(key) for key in keys], "best": _best(results, run)} for run in settings}
    return {"keys": keys, "rows": rows}


def _best(results: Results, run: str) -> Row | None:
    scores = results.scores[results.scores.run == run]
    return next(iter(best_of_run(scores).to_dict("records")), None)


def file_facts(results: Results) -> dict[str, Any] | None:
    """The word to download from the page, its shape and norms in each text encoder, or a hypernetwork's layers; None
    where nothing is worth it."""
    choice = results.choice
    if not choice.better_than_init:
        return None
    drawn = _column(results, choice.run, choice.step)
    content = _as_file(results.learned)
    return {
        "name": f"{choice.word}.safetensors",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "source": data_uri("application/octet-stream", content),
        "prompt": drawn.prompt.iloc[0].replace(NAME, choice.word) if len(drawn) else f"a {choice.word}",
        "pipeline": pipeline_of(results.runs[choice.run].record.model.family),
        "load": _how_to_load(results.runs[choice.run].record),
        **_facts(results.learned),
    }


def _how_to_load(record: RunRecord) -> str:
    """The base model as diffusers loads it: the method of a pipeline's class and its arguments, in Python."""
    method, option = ("from_single_file", "config") if record.model.is_file else ("from_pretrained", "revision")
    given = record.settings.get("base", {}).get(option)
    return f"{method}({quoted(record.model.name)}{f', {option}={quoted(given)}' if given else ''})"


def _as_file(learned: Learned) -> bytes:
    """The bytes that `export` writes as safetensors with the word as key."""
    with TemporaryDirectory() as folder:
        path = Path(folder, f"{learned.name}.safetensors")
        if isinstance(learned, Hypernetwork):
            save_hypernetwork(path, learned)
        else:
            write_embedding(path, learned)
        return path.read_bytes()


def _facts(learned: Learned) -> dict[str, Any]:
    if isinstance(learned, Hypernetwork):
        structure = learned.structure
        return {
            "kind": "hypernetwork",
            "widths": learned.widths,
            "layers": structure.summary,
            "count": structure.count(learned.widths),
            "note": structure.told_of_comfyui(),
        }
    parts = [learned.vectors] if learned.vectors_g is None else [learned.vectors, learned.vectors_g]
    return {
        "kind": "word",
        "num_vectors": len(learned.vectors),
        "widths": [part.shape[1] for part in parts],
        "norms": [part.norm(dim=1).tolist() for part in parts],
    }


def quoted(text: str) -> str:
    """As a string of Python."""
    return json.dumps(text, ensure_ascii=False)


def number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or pd.isna(value) else f"{value:.{digits}f}"


def percent(value: float | None) -> str:
    return "–" if value is None or pd.isna(value) else f"{value:.0%}"
