"""The comparison as one HTML file that fetches nothing, and as CSV and JSON. All text goes through autoescape."""

import base64
import hashlib
import json
import math
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from app.compare.charts import CHARTED, apart, chart, parallel, points_of
from app.compare.comparison import SAMPLES_PER_UPDATE, SHOWN, Comparison, Row
from app.compare.settings import Setting, setting
from pseudoword.results.costs import Cost
from pseudoword.results.effects import Effect, Interval
from pseudoword.results.html import environment
from pseudoword.results.images import EmbeddedImage, as_webp, data_uri, open_drawn, scaled
from pseudoword.results.settings import flat, plain
from stages.choose.selection import RULE
from stages.choose.words import percent

TEMPLATES, STYLE = Path("templates/compare"), Path("templates/report/style.css")
QUALITY = 80  # of WebP: there are many of them
PICTURE_PX, TOP_PX = 160, 512  # longest sides, in the sheet and at the top
MAX_PICTURES_BYTES = 3_600_000  # of all in the sheet; base64 makes a third more of it
MAX_FILE_BYTES = 500_000  # of a file to download from the page; a hypernetwork is larger
NUM_COLOURS = 6  # of style.css
# Of params.yaml, those that have to do with what was learned and how it was looked at.
SECTIONS = ("base", "word", "data", "preprocess", "caption", "curate", "latents", "train", "hypernetwork", "evaluate",
            "judge", "choose")  # fmt: skip
FIGURES = ("score", *SHOWN)  # of a row; the score and what it is made of come first
MIN_SAVING = 0.3  # of the samples, from which it is worth a sentence
PARTS = {0.05: "a twentieth", 0.1: "a tenth", 0.2: "a fifth", 0.25: "a quarter", 1 / 3: "a third", 0.5: "half",
         2 / 3: "two thirds"}  # fmt: skip


Pictures = dict[tuple[int, int, str, int], EmbeddedImage]  # by `id` of a row, step, prompt and seed


PASSES = ("trained", "scored", "drawn")  # of `Cost`


@dataclass(frozen=True)
class Shown:
    """A figure in a table: as text, as a number to sort by, or the reason why there is none."""

    text: str = ""
    interval: str = ""
    value: str = ""
    reason: str = ""
    is_shown: bool = False  # whether an effect is more than chance


def render(comparison: Comparison, files: dict[int, Path]) -> str:
    """The page; `files` are the embeddings to download, by `id` of their row."""
    script = (TEMPLATES / "workbench.js").read_text(encoding="utf-8")
    rows, choice, differing = comparison.rows, comparison.choice, columns(comparison)
    pictures = embedded_pictures(rows, comparison)
    colours = {id(row): i if i < NUM_COLOURS else "none" for i, row in enumerate(rows)}
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        environment(TEMPLATES)
        .get_template("index.html.j2")
        .render(
            word=rows[0].experiment.choice.word,
            style=Markup(STYLE.read_text(encoding="utf-8")),
            script=Markup(script),
            script_hash=digest,
            data=Markup(_json_in_html(sheet_data(comparison, pictures))),
            measures=SHOWN,
            figures=FIGURES,
            decisive=1 + len(RULE),
            differing=differing,
            settings=shared_settings(comparison),
            rows=[_row(row, comparison, differing, pictures, files.get(id(row))) for row in rows],
            better_than_init=comparison.better_than_init,
            choice={"label": choice.label, "picture": _first_picture(choice)},
            which=which(comparison),
            why=[why(comparison), cheaper(comparison)],
            how_sure=certainty(comparison),
            shown_effects=list(shown_effects(comparison)),
            shipped=comparison.usual,
            effects=[_effect(effect, group) for effect, group in _by_change(comparison)],
            repeated=comparison.repeated,
            cells=comparison.cells,
            charts=[chart(name, comparison, colours) for name in CHARTED],
            checkpoints=list(checkpoints(comparison)),
            parallel=parallel(comparison, colours),
            legend=[(row.label, colours[id(row)]) for row in rows[:NUM_COLOURS]],
            judges=rows[0].experiment.judges,
            gaps=comparison.gaps,
            version=version("pseudoword"),
        )
    )


def headline(comparison: Comparison) -> str:
    take = "Of what was compared, take " if comparison.better_than_init else ""
    return f"{take}{which(comparison)}. {why(comparison)}"


def which(comparison: Comparison) -> str:
    """The settings of the choice in which it differs from others, or that there is none."""
    choice = comparison.choice
    if not comparison.better_than_init:
        has_learned = any(row.veto and row.figures["likeness"].low > 0 for row in comparison.rows)
        start = choice.experiment.runs[choice.run].start
        return "Everything is ruled out" if has_learned else f"Nothing is shown to be better than {start}"
    settings = choice.settings
    changes = [f"{key} {settings[key]}" for key in apart(comparison) if key in settings]
    return ", ".join(changes) or "this one"


def why(comparison: Comparison) -> str:
    choice = comparison.choice
    found = [f"{name} {percent(choice.figures[name])}" for name in RULE if not math.isnan(choice.figures[name].value)]
    reached = f"{', '.join(found).capitalize()}, after {choice.samples:,} samples."
    return reached if comparison.better_than_init else f"The least bad is {choice.label}: {choice.veto}. {reached}"


def certainty(comparison: Comparison) -> str:
    choice = comparison.choice
    others = [row.label for row in comparison.tied if row is not choice]
    sure = f"In {comparison.sure:.0%} of the resampled evidence nothing is better than it by more than 0.02 of score."
    if not comparison.better_than_init:
        sure = "The table says why each is ruled out."
    without_score = [row.label for row in comparison.rows if "score" in row.gaps]
    if without_score:
        sure = f"{sure} Nothing is said of {_listed(without_score)}, which cannot be compared with it."
    if not comparison.better_than_init:
        return sure
    if not others:
        return f"{sure} Nothing{' of the rest' if without_score else ' else'} is as good."
    return f"{sure} This evidence cannot tell it from {_listed(others)}; of what ties, it has seen the fewest samples."


def cheaper(comparison: Comparison) -> str:
    """A sentence where the choice costs clearly less than the row of the highest score, or nothing."""
    choice, best = comparison.choice, comparison.best
    if not comparison.better_than_init or choice is best or choice.samples > (1 - MIN_SAVING) * best.samples:
        return ""
    share = choice.samples / best.samples
    part = min(PARTS, key=lambda size: abs(size - share))
    about = "" if math.isclose(part, share, rel_tol=0.01) else "about "
    return (
        f"The same result as {best.label}, which has the highest score, for {about}{PARTS[part]} of the cost: "
        f"{choice.samples:,} samples in place of {best.samples:,}."
    )


def _listed(names: Sequence[str]) -> str:
    shown = [*names[:3], *([f"{len(names) - 3} more"] if len(names) > 3 else [])]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def columns(comparison: Comparison) -> list[str]:
    """The settings that differ, those that say it all first."""
    first = apart(comparison)
    return [*first, *(key for key in comparison.differing if key not in first)]


def _row(
    row: Row, comparison: Comparison, differing: Sequence[str], pictures: Pictures, file: Path | None
) -> dict[str, Any]:
    cells = row.at_choice().set_index(["prompt", "seed"])
    shown = []
    for prompt, seed in comparison.cells:
        picture = pictures.get((id(row), row.step, prompt, seed)) if (prompt, seed) in cells.index else None
        shown.append(
            picture and {"id": _picture_id(comparison.rows.index(row), prompt, seed, comparison), **vars(picture)}
        )
    return {
        "label": row.label,
        "mark": comparison.mark(row),
        "veto": row.veto,
        "step": row.step,
        "samples": row.samples,
        "cost": row.cost,
        "settings": [setting(key, row.settings, row.auto, comparison.usual) for key in differing],
        "figures": [_figure(row, name) for name in FIGURES],
        "pictures": shown,
        "restore": row.experiment.restore,
        "again": again(row, comparison.usual),
        "file": file and {"name": file.name, "source": data_uri("application/octet-stream", file.read_bytes())},
    }


def shared_settings(comparison: Comparison) -> dict[str, list[tuple[str, Setting]]]:
    """What is the same in all rows: what differs from the shipped settings, what was worked out, and the rest."""
    row = comparison.rows[0]
    groups: dict[str, list[tuple[str, Setting]]] = {"changed": [], "auto": [], "shipped": []}
    for key in row.every:
        alike = len({other.every.get(key) for other in comparison.rows}) == 1
        if alike and key.split(".")[0] in SECTIONS and key != SAMPLES_PER_UPDATE:
            shared = setting(key, row.every, row.auto, comparison.usual)
            groups["auto" if shared.is_auto else "shipped" if shared.is_shipped else "changed"].append((key, shared))
    return groups


def shown_effects(comparison: Comparison) -> Iterator[str]:
    """Of what the choice is made by, the effects that are more than chance."""
    for effect in comparison.effects:
        if effect.measure in RULE and effect.difference.excludes_zero:
            ((key, before, after),) = effect.changes
            figure = _difference(effect.difference)
            yield f"{key} {before} → {after}: {effect.measure} {figure.text} ({figure.interval})"


def checkpoints(comparison: Comparison) -> Iterator[dict[str, Any]]:
    """What the charts show, in lines: of each drawn checkpoint its figures with their intervals."""
    for row in comparison.rows:
        points = {name: points_of(name, row, comparison) for name in CHARTED if name not in row.gaps}
        by_step = {(name, point.step): point for name, line in points.items() for point in line}
        for step in sorted({step for _, step in by_step}):
            found = [by_step.get((name, step)) for name in CHARTED]
            known = next(point for point in found if point)
            yield {"label": row.label, "step": step, "samples": known.samples, "mark": known.mark,
                   "figures": [p and (f"{p.value:.2f}", f"{p.low:.2f} to {p.high:.2f}") for p in found]}  # fmt: skip


def _figure(row: Row, name: str) -> Shown:
    if name in row.gaps:
        return Shown(reason=row.gaps[name])
    figure = row.figures.get(name)
    if figure is None or math.isnan(figure.value):
        return Shown(reason="could not be measured")
    return Shown(f"{figure.value:.2f}", f"{figure.low:.2f} to {figure.high:.2f}", f"{figure.value:.6g}")


def _by_change(comparison: Comparison) -> Iterator[tuple[Effect, list[Effect]]]:
    """Main effects, and of the interactions those that some measure shows; each with its effects on all measures."""
    groups: dict[Any, list[Effect]] = {}
    for effect in (*comparison.effects, *comparison.interactions):
        groups.setdefault(effect.changes, []).append(effect)
    for changes, group in groups.items():
        if len(changes) == 1 or any(effect.difference.excludes_zero for effect in group):
            yield group[0], group


def _effect(effect: Effect, group: list[Effect]) -> dict[str, Any]:
    return {"changes": effect.changes, "trainings": effect.trainings,
            "figures": [_difference(member.difference) for member in group]}  # fmt: skip


def _difference(difference: Interval) -> Shown:
    if math.isnan(difference.value):
        return Shown("–", reason="could not be measured")
    interval = "" if math.isnan(difference.low) else f"{difference.low:+.2f} to {difference.high:+.2f}"
    return Shown(f"{difference.value:+.2f}", interval, is_shown=difference.excludes_zero)


def again(row: Row, usual: Mapping[str, str]) -> str:
    """The command that trains this run of a sweep by itself; empty for a run that is an experiment of its own.

    `++` sets a key that params.yaml has, and one that it leaves out.
    """
    swept = [key.removeprefix("sweep.") for key in row.experiment.settings if key.startswith("sweep.")]
    if not swept:
        return ""
    values = flat(row.experiment.runs[row.run].settings)
    written = {key: _override(values[key], usual.get(key, "")) for key in swept if key in values}
    changes = [f"-S {shlex.quote(f'++{key}={text}')}" for key, text in written.items()]
    first = f"{row.experiment.restore} && " if row.experiment.restore else ""
    return f"{first}dvc exp run -S '~sweep' {' '.join(changes)}"


def _override(value: Any, usual: str) -> str:
    """A value in the grammar of `dvc exp run -S`, where text with other signs than these, and text that would be read
    as a number, a switch or nothing, stands in quotes. A rate is kept as text and shipped, in `usual`, as a number."""
    text = plain(value)
    if not isinstance(value, str):
        return text
    is_other = text.lower() in ("true", "false", "null") or (_is_number(text) and not _is_number(usual))
    if re.fullmatch(r"[\w./+-]+", text, re.ASCII) and not is_other:
        return text
    # Backslashes have a meaning before a quote alone.
    return "'" + re.sub(r"(\\*)('|\Z)", lambda found: 2 * found[1] + found[2].replace("'", "\\'"), text) + "'"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# -- pictures


def embedded_pictures(rows: Sequence[Row], comparison: Comparison) -> Pictures:
    """What was taken, and of other steps as many as there is room for."""
    taken = [(row, row.at_choice()) for row in rows]
    others = [(row, part) for row in rows for step, part in row.drawn.groupby("step") if step != row.step]
    found: Pictures = {}
    room = MAX_PICTURES_BYTES
    with ThreadPoolExecutor() as threads:  # encoding leaves Python to the others
        for number, (row, part) in enumerate([*taken, *others]):
            cells = part.to_dict("records")
            pictures = list(threads.map(partial(_thumbnail, row), cells))
            room -= sum(len(picture.source) * 3 // 4 for picture in pictures)
            if room < 0 and number >= len(taken):
                break
            for cell, picture in zip(cells, pictures, strict=True):
                found[id(row), int(cell["step"]), str(cell["prompt"]), int(cell["seed"])] = picture
    return found


def _thumbnail(row: Row, cell: dict[Any, Any]) -> EmbeddedImage:
    step, prompt, seed = int(cell["step"]), cell["prompt"], int(cell["seed"])
    said = str(prompt).replace("[name]", row.experiment.choice.word)
    return _embed(Path(cell["file"]), f"{row.label}, step {step}: {said}, seed {seed}", PICTURE_PX)


def _first_picture(row: Row) -> EmbeddedImage:
    cell = row.at_choice().iloc[0]
    said = str(cell["prompt"]).replace("[name]", row.experiment.choice.word)
    return _embed(Path(cell["file"]), f"Drawn by {row.label}: {said}", TOP_PX)


def _embed(path: Path, alt: str, side: int) -> EmbeddedImage:
    """A WebP whose longer side has `side` px; what is drawn small is enlarged smoothly."""
    return as_webp(scaled(open_drawn(path), side), alt, QUALITY)


def _picture_id(row: int, prompt: str, seed: int, comparison: Comparison) -> str:
    return f"p{row}-{comparison.cells.index((prompt, seed))}"


def sheet_data(comparison: Comparison, pictures: Pictures) -> dict[str, Any]:
    """What the page's script reads. A picture that stands in the page already is named by its id."""
    rows = comparison.rows
    prompts = list(dict.fromkeys(str(prompt) for row in rows for prompt in row.drawn["prompt"]))
    seeds = sorted({int(seed) for row in rows for seed in row.drawn["seed"]})
    word = rows[0].experiment.choice.word
    entries = []
    for number, row in enumerate(rows):
        for cell in row.drawn.to_dict("records"):
            step, prompt, seed = int(cell["step"]), str(cell["prompt"]), int(cell["seed"])
            picture = pictures.get((id(row), step, prompt, seed))
            if picture is None:
                continue
            static = step == row.step and (prompt, seed) in comparison.cells
            source = _picture_id(number, prompt, seed, comparison) if static else picture.source
            figures = {
                name: f"{cell[name]:.2f}"
                for name in SHOWN
                if name not in row.gaps and not math.isnan(float(cell[name]))
            }
            entries.append([number, step, prompts.index(prompt), seed, source, figures])
    content = {
        "rows": [
            {"label": row.label, "step": row.step, "score": _score(row),
             "mark": comparison.mark(row)}
            for row in rows
        ],
        "prompts": [prompt.replace("[name]", word) for prompt in prompts],
        "seeds": seeds,
        "pictures": entries,
    }  # fmt: skip
    digest = hashlib.sha256(json.dumps([content["rows"], content["prompts"]]).encode()).hexdigest()[:12]
    return {"id": digest, **content}


def _score(row: Row) -> float | None:
    score = row.figures.get("score")
    return None if score is None or math.isnan(score.value) else round(score.value, 4)


def _json_in_html(content: dict[str, Any]) -> str:
    """As JSON that no text in it can end, nor begin anything in HTML."""
    text = json.dumps(content)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


# -- for programs


def table(comparison: Comparison) -> pd.DataFrame:
    """One row for each training: what differs, each measure with its interval, and why a measure is missing."""
    lines = []
    for row in comparison.rows:
        line: dict[str, Any] = {
            "training": row.label, "experiment": row.experiment.name, "run": row.run, "step": row.step,
            "samples": row.samples, **_passes(row.cost),
            **{key: row.settings.get(key, "") for key in comparison.differing},
        }  # fmt: skip
        for name in (*SHOWN, "score"):
            figure = None if name in row.gaps else row.figures.get(name)
            ends = [math.nan] * 3 if figure is None else [figure.value, figure.low, figure.high]
            line |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
        line["missing"] = "; ".join(f"{name}: {reason}" for name, reason in row.gaps.items())
        line |= {"veto": row.veto, "tied": row in comparison.tied, "chosen": row is comparison.choice}
        lines.append(line)
    return pd.DataFrame(lines)


def _passes(cost: Cost | None) -> dict[str, float]:
    return {
        "passes": math.nan if cost is None else cost.passes,
        **{f"passes_{name}": math.nan if cost is None else getattr(cost, name) for name in PASSES},
    }


def as_json(comparison: Comparison) -> str:
    rows = json.loads(table(comparison).to_json(orient="records"))
    effects = [
        {"measure": effect.measure, "changes": effect.changes, "trainings": effect.trainings,
         **{name: None if math.isnan(value) else value for name, value in vars(effect.difference).items()},
         "shown": effect.difference.excludes_zero}
        for effect in (*comparison.effects, *comparison.interactions)
    ]  # fmt: skip
    content = {
        "chosen": comparison.choice.label,
        "better_than_init": comparison.better_than_init,
        "sure": comparison.sure,
        "trainings": rows,
        "effects": effects,
        "left_out": [vars(gap) for gap in comparison.gaps],
    }
    return json.dumps(content, indent=2) + "\n"
