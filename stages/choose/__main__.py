"""choose: vetoes, the rule, intervals and ties; the reason in words, and the next edit. A second's arithmetic.

reads   outputs/judged/, outputs/evaluation/    what was measured, the losses, the pictures for the sheet
        outputs/words/<run>/settings.json       for what the advice proposes
        outputs/pictures/, outputs/pictures.csv
writes  outputs/choice/choice.json, scores.csv, metrics.json, chosen.png    (see docs/files.md)

Where nothing is better than the init it ends well and says so; `export` alone refuses then.
"""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from pseudoword.files import save_with, write_table, write_text
from pseudoword.records import Carried, JudgesRecord, RunRecord, read_record
from pseudoword.results.costs import cost_of
from pseudoword.results.images import open_drawn
from pseudoword.results.places import (
    CHOICE,
    CHOSEN_SHEET,
    JUDGES,
    LOSSES,
    METRICS,
    PICTURES,
    SCORES,
    WORDS,
    checkpoint_file,
)
from pseudoword.results.scale import on_one_scale
from pseudoword.results.settings import swept
from pseudoword.results.tables import MEASURES, read_elsewhere, read_losses, read_measured, read_used
from pseudoword.settings.choose import ChooseSettings
from pseudoword.settings.evaluate import EvaluateSettings
from pseudoword.settings.stage import StageSettings
from pseudoword.settings.word import WordSettings
from stages._runtime import run_stage
from stages.choose.elsewhere import carried
from stages.choose.scoring import scored
from stages.choose.selection import RULE, Candidate, Selection
from stages.choose.sheet import contact_sheet
from stages.choose.words import Told, told


class Settings(StageSettings):
    word: WordSettings
    choose: ChooseSettings
    evaluate: EvaluateSettings


def main() -> None:
    settings = Settings.read("choose")
    judges, losses = read_record(JUDGES, JudgesRecord), read_losses(LOSSES)
    measured = on_one_scale(read_measured(), judges)
    selection, table = scored(measured, losses, settings.choose)
    chosen = selection.chosen
    records = {run: read_record(WORDS / run / "settings.json", RunRecord) for run in dict.fromkeys(losses["run"])}
    last = {run: int(losses[losses["run"] == run]["step"].max()) for run in records}
    words = told(selection, judges, records, last, nearest(measured, chosen))
    places = list(carried(measured, read_elsewhere(), judges, chosen))
    metrics = {
        **rows_of(table, chosen.run, chosen.step),
        "init": row_of_init(table, measured, chosen.run),
        "cost": costs(losses, measured, chosen, records[chosen.run], settings.evaluate),
        "swept": swept({run: record.settings for run, record in records.items()}, chosen.run),
        "versions": records[chosen.run].versions,
    }
    save_with(CHOSEN_SHEET, partial(chosen_sheet(measured, chosen).save, format="png"))
    write_table(SCORES, table)
    write_text(METRICS, json.dumps(metrics, indent=2) + "\n")
    record = record_of(settings.word.name, selection, words, metrics["chosen"], places)
    write_text(CHOICE, json.dumps(record, indent=2) + "\n")
    print("\n".join([words.reason, *words.notes, *(place.sentence for place in places), *words.advice]))


def nearest(measured: pd.DataFrame, chosen: Candidate) -> list[str]:
    """The files of the training pictures that the chosen checkpoint's pictures are nearest to."""
    source = read_used().set_index("id")["source"]
    rows = measured[(measured["run"] == chosen.run) & (measured["step"] == chosen.step) & (measured["control"] == "")]
    return [str(source.get(name, name)) for name in rows["nearest"]]


def rows_of(table: pd.DataFrame, run: str, step: int) -> dict[str, dict[str, Any]]:
    """The figures of a checkpoint and the ends of their intervals, for `dvc metrics show` and `dvc exp show`."""
    row = table[(table["run"] == run) & (table["step"] == step)].iloc[0]
    figures = {
        name: {key: float(row[f"{key}{end}"]) for key in (*MEASURES, "score") if pd.notna(row[f"{key}{end}"])}
        for name, end in (("chosen", ""), ("low", "_low"), ("high", "_high"))
    }
    return figures | {"chosen": {"run": run, "step": step, "loss": float(row["loss"]), **figures["chosen"]}}


def costs(
    losses: pd.DataFrame, measured: pd.DataFrame, chosen: Candidate, record: RunRecord, evaluate: EvaluateSettings
) -> dict[str, int]:
    """`samples` that the chosen checkpoint has seen, and all `passes` through the UNet that its run took."""
    scored = losses[losses["run"] == chosen.run]
    drawn = int(((measured["run"] == chosen.run) & (measured["control"] == "")).sum())
    cost = cost_of(
        int(scored["step"].max()) * record.samples_per_update, len(scored), record.pictures, evaluate.timesteps, drawn,
        evaluate.inference_steps, evaluate.guidance,
    )  # fmt: skip
    return {"samples": chosen.step * record.samples_per_update, "passes": cost.passes}


def row_of_init(table: pd.DataFrame, measured: pd.DataFrame, run: str) -> dict[str, float]:
    """What the run's init text draws, and the loss of the run's start."""
    rows = measured[(measured["run"] == run) & (measured["control"] == "init")]
    means = {name: float(rows[name].mean()) for name in MEASURES if rows[name].notna().any()}
    loss = table[(table["run"] == run) & (table["step"] == 0)]["loss"]
    return {**({"loss": float(loss.iloc[0])} if len(loss) else {}), **means}


def record_of(
    word: str, selection: Selection, words: Told, figures: dict[str, Any], places: list[Carried]
) -> dict[str, Any]:
    chosen = selection.chosen
    shown = ("loss", "similarity", *RULE, "score")
    return {
        "word": word,
        "run": chosen.run,
        "step": chosen.step,
        "file": (WORDS / checkpoint_file(chosen.run, word, chosen.step)).as_posix(),
        "better_than_init": selection.better_than_init,
        "reason": words.reason,
        "notes": words.notes,
        "advice": words.advice,
        "sure": selection.sure,
        "tied": [{"run": c.run, "step": c.step} for c in selection.tied],
        "carried": [place.model_dump() for place in places],
        **{name: figures[name] for name in shown if name in figures},
    }


def chosen_sheet(measured: pd.DataFrame, chosen: Candidate) -> Any:
    of_run = measured[(measured["run"] == chosen.run) & (measured["seed"] == 0)]
    init = of_run[of_run["control"] == "init"]["file"]
    drawn = of_run[(of_run["control"] == "") & (of_run["step"] == chosen.step)]["file"]
    ids = list(read_used()["id"])
    training = [PICTURES / f"{ids[i % len(ids)]}.png" for i in range(len(drawn))]
    return contact_sheet([open_drawn(Path(file)) for file in [*training, *init, *drawn]], len(drawn))


if __name__ == "__main__":
    run_stage(main)
