"""From the inputs to HTML: what the templates show, as plain values. All text goes through jinja2's autoescape."""

import hashlib
import json
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pseudoword.findings import Finding
from stages.report.charts import score_charts, series_of, training_charts
from stages.report.images import Picture, data_uri, embed
from stages.report.inputs import Inputs

LARGE, THUMBNAIL = 512, 256  # px, longest side of an embedded picture: at the top of the page, and in its tables
SMALL, MOST_SMALL = 160, 12  # px and number of the pictures beside a finding
FIRST_SIGHT = 6  # pictures of each kind at the top of the page

Row = dict[Hashable, Any]  # of a table, by column


@dataclass(frozen=True)
class Sheet:
    """The drawn pictures of one run; `rows` are ((prompt, seed), one picture or None per step)."""

    run: str
    steps: list[int]
    rows: list[tuple[tuple[str, int], list[Picture | None]]]


@dataclass(frozen=True)
class Learned:
    """One picture to learn from."""

    picture: Picture
    file: str
    caption: str
    origin: str
    draft: str


@dataclass(frozen=True)
class Told:
    """A finding of the doctor with the pictures that it is about; `more` of them are not shown."""

    finding: Finding
    pictures: list[Picture]
    more: int


def render(inputs: Inputs, settings: dict[str, dict[str, Any]], templates: Path) -> str:
    """The whole page from the `index.html.j2` in the folder `templates`; `settings` are those that no run records."""
    environment = Environment(
        loader=FileSystemLoader(templates),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "plain": plain}
    chosen = inputs.runs[inputs.choice.run]
    return environment.get_template("index.html.j2").render(
        word=inputs.choice.word,
        choice=inputs.choice,
        metrics=inputs.metrics,
        way=share_of_way(inputs),
        record=chosen.record,
        settings={name: flat(values) for name, values in (chosen.record.settings | settings).items()},
        sight=first_sight(inputs),
        charts=score_charts(inputs) | training_charts(inputs),
        series=series_of(inputs.runs, inputs.choice.run),
        scores=dict(scores_by_run(inputs)),
        sheets=list(sheets(inputs)),
        comparison=comparison(inputs),
        told=[tell(inputs, finding) for finding in inputs.doctor.findings],
        left_out=inputs.doctor.left_out,
        learned=list(learned(inputs)),
        skipped=inputs.pictures[inputs.pictures.state != "used"].to_dict("records"),
        file=file_facts(inputs),
    )


def share_of_way(inputs: Inputs) -> float | None:
    """How far likeness came from the start (0) to what the training pictures have among themselves (1)."""
    start, end = inputs.metrics.init.image_similarity, inputs.metrics.chosen.image_similarity
    goal = inputs.choice.training_similarity
    if start is None or end is None or goal is None or goal <= start:
        return None
    return (end - start) / (goal - start)


def first_sight(inputs: Inputs) -> dict[str, list[Picture]]:
    """The same few prompts and seeds before and after, one per prompt as far as they reach, beside what was learned."""
    rows = _drawn(inputs, inputs.choice.run)
    rows = rows[rows.step == inputs.choice.step].sort_values("seed", kind="stable")
    shown = list(rows[["prompt", "seed"]].itertuples(index=False, name=None))[:FIRST_SIGHT]
    return {
        "saw": [_embed_learned(inputs, row, LARGE) for row in islice(_used(inputs), FIRST_SIGHT)],
        "start": [p for p in _cells(inputs, inputs.choice.run, 0, shown, LARGE) if p],
        "draws": [p for p in _cells(inputs, inputs.choice.run, inputs.choice.step, shown, LARGE) if p],
    }


def sheets(inputs: Inputs) -> Iterator[Sheet]:
    """One per run that was drawn, the chosen run first; equal prompt and seed mean the same noise."""
    for run in series_of(inputs.runs, inputs.choice.run):
        drawn = _drawn(inputs, run)
        if drawn.empty:
            continue
        steps = sorted(set(drawn.step))
        shown = list(dict.fromkeys(drawn[["prompt", "seed"]].itertuples(index=False, name=None)))
        columns = [_cells(inputs, run, step, shown, THUMBNAIL) for step in steps]
        yield Sheet(run, steps, [(row, [column[at] for column in columns]) for at, row in enumerate(shown)])


def _drawn(inputs: Inputs, run: str) -> pd.DataFrame:
    return inputs.drawn[inputs.drawn.run == run]


def _cells(inputs: Inputs, run: str, step: int, shown: list[tuple[str, int]], largest: int) -> list[Picture | None]:
    """The pictures of a checkpoint for each (prompt, seed), None where there is none."""
    drawn = _drawn(inputs, run)
    rows = drawn[drawn.step == step]
    files = {(row["prompt"], row["seed"]): row["file"] for row in rows.to_dict("records")}
    return [
        embed(files[key], f"Drawn at step {step}: {key[0]}, seed {key[1]}", largest) if key in files else None
        for key in shown
    ]


def learned(inputs: Inputs) -> Iterator[Learned]:
    captions = {row["id"]: row for row in inputs.captions.to_dict("records")}
    for row in _used(inputs):
        caption = captions[row["id"]]
        picture = _embed_learned(inputs, row, THUMBNAIL)
        yield Learned(picture, row["source"], caption["caption"], caption["origin"], caption["draft"])


def tell(inputs: Inputs, finding: Finding) -> Told:
    shown = [picture for picture in finding.pictures if picture.id in inputs.picture_files]
    pictures = [
        embed(inputs.picture_files[picture.id], f"Training picture {picture.source}", SMALL)
        for picture in shown[:MOST_SMALL]
    ]
    return Told(finding, pictures, len(shown) - len(pictures))


def _used(inputs: Inputs) -> Iterator[Row]:
    return (row for row in inputs.pictures.to_dict("records") if row["state"] == "used")


def _embed_learned(inputs: Inputs, row: Row, largest: int) -> Picture:
    return embed(inputs.picture_files[row["id"]], f"Training picture {row['source']}", largest)


def scores_by_run(inputs: Inputs) -> Iterator[tuple[str, list[Row]]]:
    """The rows of each run's checkpoints, the chosen run first."""
    for run in series_of(inputs.runs, inputs.choice.run):
        yield run, inputs.scores[inputs.scores.run == run].to_dict("records")


def comparison(inputs: Inputs) -> dict[str, Any]:
    """`keys`: the settings in which the runs differ; `rows`: by run its values of them and its best checkpoint."""
    settings = {name: flat(run.record.settings) for name, run in inputs.runs.items()}
    keys = [key for key in settings[inputs.choice.run] if len({plain(each.get(key)) for each in settings.values()}) > 1]
    rows = {run: {"values": [settings[run].get(key) for key in keys], "best": _best(inputs, run)} for run in settings}
    return {"keys": keys, "rows": rows}


def flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Each value under its keys joined by dots, as `dvc exp run -S` takes them."""
    spread: dict[str, Any] = {}
    for key, value in settings.items():
        inner = flat(value) if isinstance(value, dict) else {}
        spread |= {f"{key}.{rest}": one for rest, one in inner.items()} or {key: value}
    return spread


def _best(inputs: Inputs, run: str) -> Row | None:
    """The run's own best checkpoint: the chosen one where the choice fell on this run, else the highest score."""
    scores = inputs.scores[inputs.scores.run == run]
    if run == inputs.choice.run:
        scores = scores[scores.step == inputs.choice.step]
    elif scores.chosen.any():
        scores = scores[scores.chosen]
    else:
        scores = scores[scores.veto == ""].dropna(subset=["score"]).sort_values("score", ascending=False, kind="stable")
    return next(iter(scores.to_dict("records")), None)


def file_facts(inputs: Inputs) -> dict[str, Any]:
    """The embedding files, each to download from the page, and the word's shape and norms in each text encoder."""
    word = inputs.embedding
    parts = [word.vectors] if word.vectors_g is None else [word.vectors, word.vectors_g]
    drawn = _drawn(inputs, inputs.choice.run)
    return {
        "name": inputs.embedding_files[0].name,
        "formats": [_format_facts(path) for path in inputs.embedding_files],
        "num_vectors": len(word.vectors),
        "widths": [part.shape[1] for part in parts],
        "norms": [part.norm(dim=1).tolist() for part in parts],
        "prompt": f"a {inputs.choice.word}" if drawn.empty else drawn.prompt.iloc[0],
    }


def _format_facts(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    return {
        "name": path.name,
        "path": path.as_posix(),
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "source": data_uri("application/octet-stream", content),
    }


def number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None or pd.isna(value) else f"{value:.{digits}f}"


def plain(value: Any) -> str:
    """A setting's value as one would write it in params.yaml."""
    return value if isinstance(value, str) and value else json.dumps(value, default=str)
