"""The scores as tables, a row for each checkpoint and one for each picture, and the metrics of the choice."""

import math
from typing import Any

import numpy as np
import pandas as pd

from stages.evaluate.checkpoints import Checkpoint
from stages.evaluate.choice import Candidate, Selection
from stages.evaluate.measures import MEASURES
from stages.evaluate.measures.measure import mean

NAMES = [measure.name for measure in MEASURES]


def scores_table(
    checkpoints: list[Checkpoint], losses: list[float], candidates: list[Candidate], selection: Selection
) -> pd.DataFrame:
    """scores.csv; what is measured is empty where nothing was drawn."""
    drawn = {candidate.key: candidate for candidate in candidates}
    rows = []
    for checkpoint, loss in zip(checkpoints, losses, strict=True):
        key = (checkpoint.run, checkpoint.step)
        measured = [mean(drawn[key].measured[name]) if key in drawn else math.nan for name in NAMES]
        score, veto = selection.scores.get(key, math.nan), selection.vetoes.get(key, "")
        rows.append((*key, loss, *measured, score, veto, key == (selection.run, selection.step)))
    return pd.DataFrame(rows, columns=["run", "step", "loss", *NAMES, "score", "veto", "chosen"])


def pictures_table(drawn: list[tuple[Candidate, list[str]]], templates: tuple[str, ...], seeds: int) -> pd.DataFrame:
    """sheets/pictures.csv, from each checkpoint's files, the seeds of a prompt together."""
    parts = [
        pd.DataFrame(
            {
                "run": candidate.run,
                "step": candidate.step,
                "prompt": np.repeat(list(templates), seeds),
                "seed": np.tile(range(seeds), len(templates)),
                "file": files,
                **{name: candidate.measured[name] for name in NAMES},
            }
        )
        for candidate, files in drawn
    ]
    return pd.concat(parts)


def metrics(table: pd.DataFrame, selection: Selection) -> dict[str, Any]:
    """The chosen checkpoint beside the start of its run, for `dvc metrics show` and `dvc exp show`."""

    def of(step: int) -> dict[str, float]:
        row = table[(table["run"] == selection.run) & (table["step"] == step)].iloc[0]
        return {key: float(row[key]) for key in ("loss", *NAMES) if pd.notna(row[key])}

    return {"chosen": {"run": selection.run, "step": selection.step, **of(selection.step)}, "init": of(0)}


def changes(measured: dict[str, Any]) -> str:
    """Each measure from the start to the chosen checkpoint, in a line."""
    texts = []
    for measure in MEASURES:
        start, end = measured["init"].get(measure.name), measured["chosen"].get(measure.name)
        if start is not None and end is not None:
            verdict = (
                "as before" if start == end else "better" if (end > start) == measure.higher_is_better else "worse"
            )
            texts.append(f"{measure.name} {start:.3f} -> {end:.3f} ({verdict})")
    return ", ".join(texts)
