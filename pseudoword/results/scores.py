"""Which checkpoint stands for a run."""

import pandas as pd


def best_of_run(scores: pd.DataFrame) -> pd.DataFrame:
    """Of one run's rows of scores.csv the chosen one, else that of the highest score; none where all are ruled out."""
    if scores["chosen"].any():
        return scores[scores["chosen"]][:1]
    allowed = scores[scores["veto"] == ""].dropna(subset=["score"])
    return allowed.sort_values("score", ascending=False, kind="stable")[:1]
