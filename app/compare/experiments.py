"""What an experiment left behind, read from a folder, a git revision or a DVC experiment, without touching any."""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pseudoword.captions.table import CAPTIONS
from pseudoword.dvc.revisions import Revision, UnknownRevision, experiments
from pseudoword.errors import UserError
from pseudoword.files import write_table
from pseudoword.records import Choice, JudgesRecord, RunRecord, read_record
from pseudoword.results.places import (
    CHOICE,
    EVALUATION,
    JUDGES,
    LOSSES,
    MEASURED,
    PICTURES,
    PICTURES_TABLE,
    SCORES,
    SHEETS,
    WORDS,
    checkpoint_file,
)
from pseudoword.results.scale import on_one_scale
from pseudoword.results.settings import flat
from pseudoword.results.tables import (
    MEASURES_VERSION,
    count_weighted,
    read_losses,
    read_measured,
    read_scores,
    read_table,
)
from pseudoword.settings.choose import ChooseSettings
from stages.choose.scoring import scored

SETTINGS = Path("outputs/settings")
OUTPUTS = Path("outputs")
TABLES = (CHOICE, SCORES, MEASURED, JUDGES, PICTURES_TABLE)
# What `judge` reads, and the settings that name its judges.
JUDGED_FROM = (EVALUATION, PICTURES, PICTURES_TABLE, CAPTIONS)
JUDGE_SETTINGS = SETTINGS / "judge.json"
EARLIER_MEASURES = (
    "its pictures were measured by an earlier version, which defined the measures otherwise; `pseudoword compare "
    "--judge-again` measures the pictures of all again"
)


class CannotJudge(UserError):
    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name} could not be judged again: {message}")


@dataclass(frozen=True)
class Gap:
    """An experiment that cannot be compared, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Experiment:
    """The outputs of one experiment below `root`; tables as docs/files.md has them, files as paths."""

    name: str
    root: Path
    restore: str  # the command that brings its settings and outputs back into the workspace
    choice: Choice
    scores: pd.DataFrame
    measured: pd.DataFrame
    judges: JudgesRecord
    pictures: str  # a digest of the training pictures
    weighted: int  # of them, how many have a loss weight by place
    project: Path  # where a relative path of the base model begins
    settings: dict[str, Any]  # by key, as far as `check` wrote them
    runs: dict[str, RunRecord]
    files: "Folder | Revision"

    def embedding(self, run: str, step: int) -> Path | None:
        """The file of a checkpoint, where it can be had."""
        path = WORDS / checkpoint_file(run, self.choice.word, step)
        return None if self.files.fetch([path], self.root) else self.root / path


@dataclass(frozen=True)
class Source:
    """Where an experiment is to be read from: a folder of a project, or a revision of the project in `project`."""

    name: str
    project: Path
    folder: Path | None

    @classmethod
    def of(cls, text: str, project: Path) -> "Source":
        """A folder that is there is taken for one; everything else is a revision. `outputs` itself may be named too."""
        folder = Path(text)
        if not folder.is_dir():
            return cls(text, project, None)
        if folder.name == OUTPUTS.name and not (folder / OUTPUTS).is_dir():
            folder = folder.parent
        name = "workspace" if folder.resolve() == project.resolve() else text.rstrip("/")
        return cls(name, project, folder)

    def read(self, scratch: Path, judge: str | None = None) -> Experiment | Gap:
        """Read the experiment; what is not in a folder of its own is copied below `scratch`, which has to outlive it.

        judge  the content of settings/judge.json by which its stored pictures are measured again. Raises CannotJudge
        """
        files = Folder(self.folder) if self.folder is not None else Revision(self.project, self.name)
        try:
            # To be judged again it has to be copied, so that nothing of the folder changes.
            return self._read(files, scratch if self.folder is None or judge else self.folder, judge)
        except UserError as error:
            if isinstance(error, (UnknownRevision, CannotJudge)):
                raise
            return Gap(self.name, str(error).replace(f"{scratch}/", "").removesuffix("."))

    def _read(self, files: "Folder | Revision", root: Path, judge: str | None) -> Experiment | Gap:
        tables = [*TABLES, SETTINGS] if judge is None else [CHOICE, PICTURES_TABLE, SETTINGS, *JUDGED_FROM]
        if missing := files.fetch(tables, root):
            return Gap(self.name, self._why_missing(missing))
        settings = dict(_settings(root / SETTINGS))
        if judge is not None:
            _judge(self.name, root, judge, self.project)
            _choose(root, settings)
        judges = read_record(root / JUDGES, JudgesRecord)
        if judges.measures != MEASURES_VERSION:
            return Gap(self.name, EARLIER_MEASURES)
        choice, scores = read_record(root / CHOICE, Choice), read_scores(root / SCORES)
        if scores["score"].isna().all():
            return Gap(self.name, "none of its checkpoints was drawn")
        records = [WORDS / run / "settings.json" for run in dict.fromkeys(scores["run"])]
        # The folder at once, since one by one takes four times as long; what is judged again has it already.
        pictures = [] if (root / SHEETS).is_dir() and judge is not None else [SHEETS]
        if missing := files.fetch([*records, *pictures], root):
            return Gap(self.name, self._why_missing(missing))
        measured = read_measured(root)
        return Experiment(
            name=self.name,
            root=root,
            restore=self._restore(),
            choice=choice,
            scores=scores,
            measured=measured,
            judges=judges,
            pictures=_digest_of_pictures(root),
            weighted=count_weighted(root),
            project=self.folder or self.project,
            settings=settings,
            runs={path.parent.name: read_record(root / path, RunRecord) for path in records},
            files=files,
        )

    def _why_missing(self, missing: list[Path]) -> str:
        first = missing[0].as_posix()
        if self.folder is not None:
            return f"{self.folder / first} is not there; `dvc repro` in {self.folder} makes it"
        is_experiment = self.name in experiments(self.project)
        pull = f"dvc exp pull origin {self.name}" if is_experiment else "dvc fetch --all-commits"
        return (
            f"{first} is neither in this cache nor in a remote that can be reached, or an earlier version, which wrote "
            f"other files, made it. `{pull}` brings it from where it was pushed to"
        )

    def _restore(self) -> str:
        if self.folder is not None:
            return "" if self.name == "workspace" else f"cd {shlex.quote(str(self.folder))}"
        return f"dvc exp apply {self.name}"


class Folder:
    """The files of a project's folder, in the manner of `Revision`; in their own place they only have to be there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def fetch(self, paths: list[Path], folder: Path) -> list[Path]:
        missing = []
        for path in paths:
            source, target = self._folder / path, folder / path
            if not source.exists():
                missing.append(path)
            elif source.resolve() != target.resolve():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)
        return missing


def _judge(name: str, root: Path, settings: str, project: Path) -> None:
    """Measure the pictures below `root` by the stage `judge`, with the judges that `settings` names."""
    (root / JUDGE_SETTINGS).write_text(settings, encoding="utf-8")
    for folder in project.resolve().iterdir():  # judges may be named by a path in the project
        if folder.is_dir() and not folder.name.startswith(".") and not (root / folder.name).exists():
            (root / folder.name).symlink_to(folder)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", "import runpy; runpy.run_module('stages.judge', run_name='__main__')"]
    ended = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
    if ended.returncode:
        raise CannotJudge(name, ended.stderr.strip().removeprefix("error: "))


def _choose(root: Path, settings: Mapping[str, Any]) -> None:
    """Work out scores.csv as the stage `choose` does, of what was measured again."""
    measured = on_one_scale(read_measured(root), read_record(root / JUDGES, JudgesRecord))
    _, table = scored(measured, read_losses(root / LOSSES), choose_settings(settings))
    write_table(root / SCORES, table)


def choose_settings(settings: Mapping[str, Any]) -> ChooseSettings:
    return ChooseSettings.model_validate(
        {key: settings[f"choose.{key}"] for key in ChooseSettings.model_fields if f"choose.{key}" in settings}
    )


def _digest_of_pictures(root: Path) -> str:
    table = read_table(root / PICTURES_TABLE, text=("id", "state"))
    used = sorted(table["id"][table["state"] == "used"])
    return f"{len(used)} pictures, {hashlib.sha256(json.dumps(used).encode()).hexdigest()[:8]}"


def _settings(folder: Path) -> Iterator[tuple[str, Any]]:
    """What the settings of all stages come to, and of the files that they name a digest."""
    for path in sorted(folder.glob("*.json")):
        content = json.loads(path.read_bytes())
        yield from flat(content.get("settings", {})).items()
        for name, text in content.get("files", {}).items():
            yield name, hashlib.sha256(json.dumps(text).encode()).hexdigest()[:8]
