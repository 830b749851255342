"""From the measured table to the choice and scores.csv: also for who measures stored pictures again."""

from itertools import groupby

import pandas as pd

from pseudoword.records import BadRecord
from pseudoword.results.places import MEASURED
from pseudoword.results.tables import MEASURES
from pseudoword.settings.choose import ChooseSettings
from stages.choose.selection import Candidate, Figure, Rule, Selection, select


def scored(measured: pd.DataFrame, losses: pd.DataFrame, choose: ChooseSettings) -> tuple[Selection, pd.DataFrame]:
    """The choice and scores.csv, of a table on one scale. Raises BadRecord."""
    candidates, rule, seeds = candidates_of(measured), rule_of(choose), int(measured["seed"].nunique())
    selection = select(candidates, rule, seeds)
    return selection, scores_table(losses, selection, of_runs(candidates, rule, seeds))


def rule_of(choose: ChooseSettings) -> Rule:
    weights = {"likeness": choose.likeness, "identity": choose.identity, "obedience": choose.obedience}
    return Rule(weights, choose.max_broken, choose.max_overbaking, choose.max_copies)


def candidates_of(measured: pd.DataFrame) -> list[Candidate]:
    """The drawn checkpoints, pictures in the order of the table. Raises BadRecord where their pictures differ."""
    found, first = [], None
    for (run, step), rows in measured[measured["control"] == ""].groupby(["run", "step"], sort=False):
        cells = list(rows[["prompt", "seed"]].itertuples(index=False, name=None))
        first = first or cells
        if cells != first:
            raise BadRecord(MEASURED, f"step {step} of run {run} has other prompts or seeds than the first one")
        found.append(Candidate(str(run), int(str(step)), {name: rows[name].to_numpy(float) for name in MEASURES}))
    if not found:
        raise BadRecord(MEASURED, "it has no drawn checkpoint")
    return found


def of_runs(candidates: list[Candidate], rule: Rule, seeds: int) -> set[tuple[str, int]]:
    """The checkpoints that each run would choose if it were alone; none of a run that is ruled out."""
    by_run = groupby(candidates, key=lambda candidate: candidate.run)
    selections = [select(list(of_run), rule, seeds) for _, of_run in by_run]
    return {selection.chosen.key for selection in selections if selection.better_than_init}


def scores_table(losses: pd.DataFrame, selection: Selection, of_runs: set[tuple[str, int]]) -> pd.DataFrame:
    """scores.csv; what is measured is empty where nothing was drawn. `of_runs`: what stands for each run."""
    tied = {candidate.key for candidate in selection.tied}
    rows = []
    for run, step, loss in losses[["run", "step", "loss"]].itertuples(index=False, name=None):
        figures = selection.figures.get((run, int(step)), {})
        row = {"run": run, "step": int(step), "loss": loss}
        for name in (*MEASURES, "score"):
            row |= _columns(name, figures.get(name))
        key = (run, int(step))
        marks = {"tied": key in tied, "chosen": key == selection.chosen.key, "of_run": key in of_runs}
        rows.append(row | {"veto": str(selection.vetoes.get(key, ""))} | marks)
    return pd.DataFrame(rows)


def _columns(name: str, figure: Figure | None) -> dict[str, float]:
    values = [float("nan")] * 3 if figure is None else [figure.value, figure.low, figure.high]
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
