"""The commands compare and vote."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from app.compare.comparison import Comparison, compare
from app.compare.experiments import JUDGE_SETTINGS, Experiment, Gap, Source
from app.compare.page import MAX_FILE_BYTES, as_json, certainty, headline, render, table
from app.compare.votes import read_votes, verdict
from pseudoword.dvc.revisions import experiments
from pseudoword.errors import UserError
from pseudoword.files import write_table, write_text
from pseudoword.terminal import printable

PROJECT = Path()
OUT = Path(".scratch/comparison")
PAGE, TABLE, DATA = "index.html", "comparison.csv", "comparison.json"


class NothingToCompare(UserError):
    def __init__(self, gaps: Sequence[Gap]) -> None:
        super().__init__(f"nothing can be compared. {'. '.join(f'{gap.name}: {gap.reason}' for gap in gaps)}.")


def compare_all(names: Sequence[str], every: bool, again: bool, out: Path, as_text: bool) -> None:
    """Write the page, the CSV and the JSON of a comparison into the folder `out`; print its upshot, or the JSON.

    names  folders, git revisions and DVC experiments; none: what lies in this folder
    every  every DVC experiment of the repository besides
    again  measure the stored pictures of all by the judges of the first one
    Raises UserError.
    """
    wanted = [*names, *(experiments(PROJECT) if every else [])] or [str(PROJECT)]
    sources = [Source.of(name, PROJECT) for name in dict.fromkeys(wanted)]
    with tempfile.TemporaryDirectory(prefix="pseudoword-") as scratch:
        found = _read(sources, Path(scratch), again)
        gaps = [result for result in found.values() if isinstance(result, Gap)]
        read = [result for result in found.values() if isinstance(result, Experiment)]
        if not read:
            raise NothingToCompare(gaps)
        comparison = compare(read, gaps)
        page = render(comparison, _files(comparison, found))
    write_table(out / TABLE, table(comparison))
    write_text(out / DATA, as_json(comparison))
    write_text(out / PAGE, page)
    if as_text:
        print(as_json(comparison), end="")
    else:
        for line in _upshot(comparison, out):
            print(printable(line))


def _read(sources: Sequence[Source], scratch: Path, again: bool) -> dict[Source, Experiment | Gap]:
    found: dict[Source, Experiment | Gap] = {}
    judge = None
    for i, source in enumerate(tqdm(sources, "read", unit="experiment", leave=False, disable=None)):
        found[source] = source.read(scratch / str(i), judge)
        first = found[source]
        if again and judge is None and isinstance(first, Experiment):
            judge = first.root / JUDGE_SETTINGS
    return found


def _files(comparison: Comparison, found: dict[Source, Experiment | Gap]) -> dict[int, Path]:
    """By `id` of a row the file of its checkpoint, where it can be had and is small enough for a page."""
    sources = {id(experiment): source for source, experiment in found.items()}
    files = {}
    for row in comparison.rows:
        path = sources[id(row.experiment)].embedding(row.experiment, row.run, row.step)
        if path is not None and path.stat().st_size <= MAX_FILE_BYTES:
            files[id(row)] = path
    return files


def _upshot(comparison: Comparison, out: Path) -> list[str]:
    choice = comparison.choice
    lines = [] if choice is None else [f"{choice.label}: {headline(comparison)}", certainty(comparison)]
    lines += [f"left out: {gap.name}: {gap.reason}" for gap in comparison.gaps]
    return [*lines, f"{out / PAGE}: open it in a browser; {TABLE} and {DATA} lie beside it"]


def vote(path: Path) -> None:
    """Print how often the votes of a page agree with the scores, and the order that the votes give."""
    print("\n".join(printable(line) for line in verdict(read_votes(path))))
