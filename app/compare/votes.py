"""A person's blind votes: how often they agree with the scores, and the order that they give."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pseudoword.errors import UserError
from pseudoword.records import Share

COLUMNS = ("prompt", "seed", "left", "right", "winner", "left_score", "right_score")
PRIOR = 0.5  # wins of each over an average rival, so that one who never lost has a finite strength
ROUNDS = 1000


class BadVotes(UserError):
    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}. It is the votes.csv that the page of `pseudoword compare` saves.")


def read_votes(path: Path) -> pd.DataFrame:
    """The votes, in COLUMNS; scores NaN where there were none. Raises BadVotes."""
    try:
        votes = pd.read_csv(path, dtype=str, keep_default_na=False)
        if missing := [name for name in COLUMNS if name not in votes]:
            raise BadVotes(path, f"it has no column '{missing[0]}'")
        votes = votes.assign(**{name: pd.to_numeric(votes[name]) for name in COLUMNS[-2:]})
    except FileNotFoundError:
        raise BadVotes(path, "there is no such file") from None
    except OSError as error:
        raise BadVotes(path, error.strerror or str(error)) from None
    except ValueError as error:
        raise BadVotes(path, str(error)) from None
    for left, right, winner in votes[["left", "right", "winner"]].itertuples(index=False, name=None):
        if winner not in ("", left, right):
            raise BadVotes(path, f"the winner '{winner}' is neither '{left}' nor '{right}'")
    if votes.empty:
        raise BadVotes(path, "it has no votes")
    return votes


def verdict(votes: pd.DataFrame) -> Iterator[str]:
    """The agreement and the order, in lines."""
    decided = votes[votes["winner"] != ""]
    yield f"{len(votes)} votes, {len(votes) - len(decided)} of them for neither"
    scored = decided[decided["left_score"].notna() & (decided["left_score"] != decided["right_score"])]
    scored = scored[scored["right_score"].notna()]
    if len(scored):
        higher = np.where(scored["left_score"] > scored["right_score"], scored["left"], scored["right"])
        share = Share.of(int((scored["winner"] == higher).sum()), len(scored))
        yield (
            f"in {share.value:.0%} of {share.number} the one of the higher score was preferred "
            f"(95 % interval {share.low:.0%} to {share.high:.0%}; by chance 50%)"
        )
    if len(decided):
        names, strengths = order(decided)
        yield "the order that the votes give, with the chance of each to win over an average one:"
        for i in np.argsort(-strengths, kind="stable"):
            wins, total = _record(decided, names[i])
            yield f"  {strengths[i] / (strengths[i] + 1):4.0%}  {names[i]}  (won {wins} of {total})"


def order(decided: pd.DataFrame) -> tuple[list[str], NDArray[np.float64]]:
    """Names, and the strength of each against an average rival of strength 1, by the model of Bradley and Terry (1952),
    fitted by minorisation-maximisation (Hunter 2004, eq. 3)."""
    names = sorted({*decided["left"], *decided["right"]})
    place = {name: i for i, name in enumerate(names)}
    wins = np.zeros((len(names), len(names)))
    for left, right, winner in decided[["left", "right", "winner"]].itertuples(index=False, name=None):
        wins[place[winner], place[right if winner == left else left]] += 1
    played, won = wins + wins.T, wins.sum(1) + PRIOR
    strengths = np.ones(len(names))
    for _ in range(ROUNDS):
        shared = (played / (strengths[:, None] + strengths[None])).sum(1) + 2 * PRIOR / (strengths + 1)
        strengths = won / shared
    return names, strengths


def _record(decided: pd.DataFrame, name: str) -> tuple[int, int]:
    played = decided[(decided["left"] == name) | (decided["right"] == name)]
    return int((played["winner"] == name).sum()), len(played)
