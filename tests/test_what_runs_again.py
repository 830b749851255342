"""The table in docs/what-runs-again.md: for each edit, which stages DVC would run, and which it does run."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from pseudoword.code import code_file
from pseudoword.settings.loading import load_settings
from stages.check.code import code_list, forget_code
from stages.check.graph import settings_by_stage
from stages.check.writing import write_settings
from tests.e2e.test_pipeline import repro

ROOT = Path(__file__).parents[1]
TABLE = (ROOT / "docs/what-runs-again.md").read_text()
ROWS = dict(re.findall(r"^\| (?!edit|---)(.*?) \| (.*?) \|$", TABLE, re.MULTILINE))
FOLDERS = ("data", "models", "pseudoword", "stages", "templates", ".dvc")
FILES = ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore")
# Little enough to run two dozen times, and enough for a word that is better than its init text.
QUICK: dict[str, dict[str, Any]] = {
    "train": {"steps": 20, "save_every": 10, "learn_rate": 0.02},
    "caption": {"beams": 1, "max_tokens": 6},
    "evaluate": {"seeds": 1, "timesteps": 1, "shortlist": 2, "inference_steps": 2},
}


def setting(**changes: dict[str, Any]) -> Callable[[], None]:
    def edit() -> None:
        content = yaml.safe_load(Path("params.yaml").read_text())
        for section, values in changes.items():
            content[section] |= values
        Path("params.yaml").write_text(yaml.safe_dump(content))

    return edit


def added(path: str, text: str) -> Callable[[], None]:
    def edit() -> None:
        with Path(path).open("a") as file:
            file.write(text)

    return edit


def replaced(path: str, *pairs: tuple[str, str]) -> Callable[[], None]:
    def edit() -> None:
        text = Path(path).read_text()
        for old, new in pairs:
            assert old in text, f"{path} has no {old!r}"
            text = text.replace(old, new, 1)
        Path(path).write_text(text)

    return edit


def several(*edits: Callable[[], None]) -> Callable[[], None]:
    return lambda: [edit() for edit in edits] and None


def small_and_reversed() -> None:
    """What is not the default, last section first."""
    content = yaml.safe_load(Path("params.yaml").read_text())
    for section in set(content) - {"data", "base", "word", *QUICK}:
        del content[section]
    for section, values in QUICK.items():
        content[section] = dict(reversed(values.items()))
    Path("params.yaml").write_text(yaml.safe_dump(dict(reversed(content.items())), sort_keys=False))


CODE = r"`(pseudoword|stages)/"  # word lists too

EDITS: dict[str, Callable[[], None]] = {
    "`train.steps`": setting(train={"steps": 30}),
    "`train.learn_rate`": setting(train={"learn_rate": 0.01}),
    "`train.preview` and `train.tensorboard`": setting(
        train={"preview": {"every": 2, "inference_steps": 1}, "tensorboard": True}
    ),
    "`train.preview.every`": setting(train={"preview": {"every": 2, "inference_steps": 1}}),
    "`train.batch`, `base.device` and `train.compile`": setting(
        train={"batch": 4, "compile": False}, base={"device": "cpu"}
    ),
    "`word.name`": setting(word={"name": "gliff"}),
    "`word.init_text`": setting(word={"init_text": "tree"}),
    "`word.kind`": setting(word={"kind": "person"}),
    "`word.overwrite`": setting(word={"overwrite": True}),
    "`hypernetwork.learn_rate` while a word is learned": setting(hypernetwork={"learn_rate": 0.001}),
    "`train.learn`": setting(train={"learn": "hypernetwork"}, hypernetwork={"learn_rate": 0.001}),
    "`preprocess.mirror`": setting(preprocess={"mirror": "horizontal"}),
    "`caption.max_tokens`": setting(caption={"max_tokens": 12}),
    "`caption.batch`": setting(caption={"batch": 3}),
    "`curate.require_review` on and off again": several(
        setting(curate={"require_review": True}), setting(curate={"require_review": False})
    ),
    "`doctor.same_background`": setting(doctor={"same_background": 0.9}),
    "`latents.tile`": setting(latents={"tile": 1024}),
    "`evaluate.guidance`": setting(evaluate={"guidance": 5.0}),
    "`evaluate.seeds`": setting(evaluate={"seeds": 2}),
    "`judge.images`": setting(judge={"images": "models/toyworld/judge"}),
    "`choose.obedience`": setting(choose={"obedience": 1.0}),
    "`export.formats`": setting(export={"formats": ["bin"]}),
    "a line in the training template that is used": added("templates/training/subject.txt", "my [name] [filewords]\n"),
    "another file in `templates/training`": added("templates/training/own.txt", "my [name]\n"),
    "a line in `evaluate.prompts`": added("templates/evaluation/subject.txt", "a [name] by a lake\n"),
    "a caption beside a picture": added("data/sample/thing-01.txt", "far away, at dawn\n"),
    "a picture taken away": lambda: Path("data/sample/thing-02.png").unlink(),
    "a note in the data folder": added("data/sample/notes.md", "Taken in May.\n"),
    "keys in another order, defaults left out": small_and_reversed,
    "a comment and a docstring in `pseudoword/settings/export.py`": several(
        replaced("pseudoword/settings/export.py", ('"""Section export."""', '"""The section export."""')),
        added("pseudoword/settings/export.py", "# A comment.\n"),
    ),
    "a comment in `pseudoword/base/sampling.py`": added("pseudoword/base/sampling.py", "# A comment.\n"),
    "another message in `stages/export/usage.py`": added("stages/export/usage.py", '\nFAREWELL = "bye"\n'),
    "another threshold in `pseudoword/doctor/quality.py`": added("pseudoword/doctor/quality.py", "\nTHRESHOLD = 3\n"),
    "another word in `pseudoword/captions/cuts/manner.txt`": added("pseudoword/captions/cuts/manner.txt", "smudged\n"),
    "a line in `templates/report/style.css`": added("templates/report/style.css", "p { margin: 0 }\n"),
}


def test_each_row_of_the_table_is_tried() -> None:
    assert list(ROWS) == list(EDITS) and len(ROWS) > 20


def begin_project(folder: Path, quick: dict[str, dict[str, Any]]) -> None:
    leave = shutil.ignore_patterns("__pycache__", "tmp", "cache", "config.local")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=leave)
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    content = yaml.safe_load((folder / "params.yaml").read_text())
    for section, values in quick.items():
        content[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(content))
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(["git", "add", "-A"], cwd=folder, check=True)
    name = ["-c", "user.name=Grace", "-c", "user.email=grace@example.org"]
    subprocess.run(["git", *name, "commit", "-q", "-m", "begin"], cwd=folder, check=True)


def undo(folder: Path) -> None:
    subprocess.run(["git", "checkout", "-q", "data", "pseudoword", "stages", "templates", "params.yaml"], cwd=folder,
                   check=True)  # fmt: skip
    subprocess.run(["git", "clean", "-q", "-f", "data", "templates"], cwd=folder, check=True)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout whose outputs, a placeholder each, DVC has recorded as made by the settings and the code there."""
    folder = tmp_path_factory.mktemp("recorded")
    begin_project(folder, QUICK)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        resolve(folder)
        stages = yaml.safe_load(Path("dvc.yaml").read_text())["stages"]
        for out in (out for name, stage in stages.items() if name != "check"
                    for out in stage["outs"] + stage.get("metrics", [])):  # fmt: skip
            path = Path(out) if Path(out).suffix else Path(out, "placeholder")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
        with Repo(str(folder)) as repo:
            repo.commit(force=True)
    return folder


def resolve(folder: Path) -> None:
    """Do what `check` does, with the code in `folder`."""
    keys = settings_by_stage(folder / "dvc.yaml")
    write_settings(load_settings(), keys)
    for stage in keys:
        code_file(stage).parent.mkdir(parents=True, exist_ok=True)
        code_file(stage).write_text(code_list(stage, folder))


def stale(folder: Path) -> set[str]:
    with Repo(str(folder)) as repo:
        return {name for name in repo.status() if name != "check"}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_makes_these_stages_stale(recorded: Path, monkeypatch: pytest.MonkeyPatch, edit: str) -> None:
    monkeypatch.chdir(recorded)
    try:
        EDITS[edit]()
        if re.search(CODE, edit):
            forget_code()
        resolve(recorded)
        assert stale(recorded) == set(re.findall(r"\*\*(\w+)\*\*", ROWS[edit]))
    finally:
        undo(recorded)
        if re.search(CODE, edit):
            forget_code()


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("reproduced")
    begin_project(folder, QUICK)
    repro(folder)
    yield folder


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("edit", EDITS)
def test_dvc_runs_these_stages_after_an_edit(reproduced: Path, monkeypatch: pytest.MonkeyPatch, edit: str) -> None:
    monkeypatch.chdir(reproduced)
    try:
        EDITS[edit]()
        ran = repro(reproduced)
    finally:
        undo(reproduced)
        repro(reproduced)
    expected = [] if ROWS[edit] == "nothing" else re.findall(r"\w+", ROWS[edit])
    assert ran == ["check", *expected]
