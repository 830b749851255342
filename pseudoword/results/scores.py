"""Which checkpoint stands for a run."""

import pandas as pd


def best_of_run(scores: pd.DataFrame) -> pd.DataFrame:
    """Of one run's rows of scores.csv the chosen one, else the one that would be chosen of this run alone; none where
    all are ruled out. Tables of before do not know it, and have the one of the highest score.
    """
    for column in ("chosen", "of_run"):
        if scores[column].any():
            return scores[scores[column]][:1]
    allowed = scores[scores["veto"] == ""].dropna(subset=["score"])
    return allowed.sort_values("score", ascending=False, kind="stable")[:1]
