"""The commands compare and vote."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from app.compare.comparison import Comparison, NothingToCompare, compare
from app.compare.experiments import Experiment, Gap, Source
from app.compare.page import MAX_FILE_BYTES, as_json, certainty, headline, render, table
from app.compare.votes import read_votes, verdict
from pseudoword.dvc.revisions import experiments
from pseudoword.files import write_table, write_text
from pseudoword.settings.loading import load_settings
from pseudoword.terminal import printable
from stages.check.graph import settings_by_stage
from stages.check.writing import stage_content

PROJECT = Path()
OUT = Path(".scratch/comparison")
PAGE, TABLE, DATA = "index.html", "comparison.csv", "comparison.json"


def compare_all(names: Sequence[str], every: bool, again: bool, out: Path | None, as_text: bool) -> None:
    """Write the page, the CSV and the JSON of a comparison into the folder `out`; print its upshot, or the JSON.

    out    by default OUT
    names  folders, git revisions and DVC experiments; none: what lies in this folder
    every  every DVC experiment of the repository besides
    again  measure the stored pictures of all by the judges that params.yaml names
    Raises UserError.
    """
    out = out or OUT
    wanted = [*names, *(experiments(PROJECT) if every else [])] or [str(PROJECT)]
    sources = [Source.of(name, PROJECT) for name in dict.fromkeys(wanted)]
    with tempfile.TemporaryDirectory(prefix="pseudoword-") as scratch:
        found = _read(sources, Path(scratch), again)
        gaps = [result for result in found.values() if isinstance(result, Gap)]
        read = [result for result in found.values() if isinstance(result, Experiment)]
        if not read:
            raise NothingToCompare(gaps)
        comparison = compare(read, gaps)
        page = render(comparison, _files(comparison))
    write_table(out / TABLE, table(comparison))
    data = as_json(comparison)
    write_text(out / DATA, data)
    write_text(out / PAGE, page)
    if as_text:
        print(data, end="")
    else:
        for line in _upshot(comparison, out):
            print(printable(line))


def _read(sources: Sequence[Source], scratch: Path, again: bool) -> dict[Source, Experiment | Gap]:
    judge = _judge_settings() if again else None
    bar = tqdm(sources, "read", unit="experiment", leave=False, disable=None)
    return {source: source.read(scratch / str(i), judge) for i, source in enumerate(bar)}


def _judge_settings() -> str:
    """What `check` would write for the stage judge, of params.yaml as it is now."""
    keys = settings_by_stage(PROJECT / "dvc.yaml")["judge"]
    return json.dumps(stage_content(load_settings(), keys), ensure_ascii=False)


def _files(comparison: Comparison) -> dict[int, Path]:
    """By `id` of a row the file of its checkpoint, where it can be had and is small enough for a page."""
    found = {id(row): row.experiment.embedding(row.run, row.step) for row in comparison.rows}
    return {row: path for row, path in found.items() if path and path.stat().st_size <= MAX_FILE_BYTES}


def _upshot(comparison: Comparison, out: Path) -> list[str]:
    first = f"{comparison.choice.label}: " if comparison.better_than_init else ""
    lines = [f"{first}{headline(comparison)}", certainty(comparison)]
    lines += [f"left out: {gap.name}: {gap.reason}" for gap in comparison.gaps]
    return [*lines, f"{out / PAGE}: open it in a browser; {TABLE} and {DATA} lie beside it"]


def vote(path: Path) -> None:
    """Print how often the votes of a page agree with the scores, and the order that the votes give."""
    print("\n".join(printable(line) for line in verdict(read_votes(path))))
