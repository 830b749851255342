"""What is drawn: columns of pictures, one for each shortlisted checkpoint and for each control of a run.

The controls show what the base model draws of the same prompts from the same noise without the word: `init` with the
init text in its place, `nothing` with nothing there. Where there is no text to write (the word starts from a file, from
"*" or from zeros, or a hypernetwork is learned), `init` is the start itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from pseudoword.files import sha256_of
from pseudoword.prompts import fill, without_name
from pseudoword.surroundings import Surroundings
from stages.evaluate.checkpoints import Checkpoint
from stages.evaluate.kept import key_of

CONTROLS = ("init", "nothing")


@dataclass(frozen=True)
class Column:
    """A word, or none, with all prompts and seeds. Equal columns of several runs are one column with several owners."""

    file: Path | None  # what was learned; None: the base model alone
    name: str  # of the word in `prompts`
    windows: int
    prompts: tuple[str, ...]  # as they are drawn
    templates: tuple[str, ...]  # as params.yaml has them: these decide the noise
    seeds: int
    folder: str  # below sheets/
    owners: list[tuple[str, int, str]] = field(default_factory=list)  # run, step, control or ""

    @property
    def learned(self) -> str:
        """Its content, for keys."""
        return sha256_of(self.file) if self.file else ""

    def cells(self) -> Iterator[tuple[int, int, str]]:
        """(prompt, seed, file below sheets/) of each picture, the seeds of a prompt together."""
        for prompt in range(len(self.prompts)):
            for seed in range(self.seeds):
                yield prompt, seed, f"{self.folder}/{prompt:02d}-{seed}.png"


def columns_of(
    shortlisted: Sequence[Checkpoint], checkpoints: Sequence[Checkpoint], name: str, templates: tuple[str, ...],
    seeds: int, around: Surroundings,
) -> list[Column]:  # fmt: skip
    """The columns to draw, the controls first."""
    with_name = tuple(around.prompt(fill(template, name)) for template in templates)
    columns: dict[str, Column] = {}

    def add(column: Column, owner: tuple[str, int, str]) -> None:
        key = key_of(column.learned, column.windows, column.prompts)
        columns.setdefault(key, column).owners.append(owner)

    for run in dict.fromkeys(checkpoint.run for checkpoint in shortlisted):
        start = next(c for c in checkpoints if c.run == run)
        text = start.init_text
        shown = tuple(around.prompt(fill(template, text)) for template in templates) if text else with_name
        file = None if text else start.file
        controls = f"{around.folder}controls"
        init = Column(file, name if file else "", start.windows, shown, templates, seeds, f"{controls}/init-{run}")
        without = tuple(around.prompt(without_name(template)) for template in templates)
        nothing = Column(None, "", start.windows, without, templates, seeds, f"{controls}/nothing-{run}")
        add(init, (run, 0, "init"))
        add(nothing, (run, 0, "nothing"))
    for c in shortlisted:
        column = Column(c.file, name, c.windows, with_name, templates, seeds, f"{around.folder}{c.run}-{c.step}")
        add(column, (c.run, c.step, ""))
    return list(columns.values())


def pictures_table(columns: Sequence[Column], elsewhere: str) -> pd.DataFrame:
    """Rows of pictures.csv: those of each owner, by run, controls first."""
    rows = [
        (run, step, control, elsewhere, column.templates[prompt], seed, file)
        for column in columns
        for run, step, control in column.owners
        for prompt, seed, file in column.cells()
    ]
    order = {run: i for i, run in enumerate(dict.fromkeys(row[0] for row in rows))}
    rows.sort(key=lambda row: (order[row[0]], row[1], row[2]))
    return pd.DataFrame(rows, columns=["run", "step", "control", "elsewhere", "prompt", "seed", "file"])
