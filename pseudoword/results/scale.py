"""Likeness of several runs from one 0."""

import math

import pandas as pd

from pseudoword.records import MIN_WAY, JudgesRecord, Scale

PAIR = ["prompt", "seed"]  # of equal ones the noise is equal


def on_one_scale(measured: pd.DataFrame, judges: JudgesRecord) -> pd.DataFrame:
    """Likeness of all runs from one 0, of pictures that were drawn at one place. Where they start from other words,
    the one whose init is the most like the pictures gives it: otherwise the worse a start, the higher the likeness of
    what is learned from it."""
    one = judges.likeness.get(judges.reference or "", Scale()).one
    if not judges.several_starts or one is None:
        return measured
    start = by_cell(measured[(measured["run"] == judges.reference) & (measured["control"] == "init")])
    return with_likeness(measured, start, one - start.mean())


def by_cell(start: pd.DataFrame) -> "pd.Series[float]":
    """The similarity of the pictures that a start draws, by prompt and seed."""
    return start.drop_duplicates(PAIR).set_index(PAIR)["similarity"]


def with_likeness(measured: pd.DataFrame, start: "pd.Series[float]", way: float) -> pd.DataFrame:
    """Likeness from what a start draws for the same prompt and seed; NaN where it drew nothing, and where it leaves no
    way to go."""
    if not way >= MIN_WAY:
        return measured.assign(likeness=math.nan)
    of_cell = start.reindex(pd.MultiIndex.from_frame(measured[PAIR])).to_numpy()
    return measured.assign(likeness=(measured["similarity"] - of_cell) / way)
