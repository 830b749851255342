"""A DVC project whose stages do what a test tells them."""

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# first -> left, right -> last. What a stage does is a parameter: so a changed one makes it run again.
DVC_YAML = """
stages:
  first: {cmd: python stage.py first, deps: [stage.py], params: [first], outs: [first.txt]}
  left: {cmd: python stage.py left, deps: [first.txt], params: [left], outs: [left.txt]}
  right: {cmd: python stage.py right, deps: [first.txt], params: [right], outs: [right.txt]}
  last: {cmd: python stage.py last, deps: [left.txt, right.txt], params: [last], outs: [last.txt]}
"""

STAGE = """
import os, signal, sys, time
from pathlib import Path
import yaml

name = sys.argv[1]
task = yaml.safe_load(Path("params.yaml").read_text())[name]
print(f"{name} says {task}")
if task == "fail":
    sys.exit(f"error: {name} was told to fail")
if task == "die once" and not Path("died").exists():
    Path("died").touch()
    os.kill(os.getpid(), signal.SIGKILL)
if task in ("tell", "wait"):
    Path(".scratch/progress").mkdir(parents=True, exist_ok=True)
    Path(f".scratch/progress/{name}.json").write_text(
        '{"label": "first", "done": 3, "total": 4, "unit": "picture", "rate": 0.5, "said": "loss 0.1", "picture": null}'
    )
if task == "wait":
    Path("waiting.tmp").write_text(str(os.getpid()))
    Path("waiting.tmp").rename("waiting")
    time.sleep(120)
Path(f"{name}.txt").write_text(task)
"""


def begin_project(folder: Path) -> None:
    """DVC in `folder`, with git where this machine has it."""
    shutil.copytree(ROOT / ".dvc", folder / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache", "config.local"))
    if shutil.which("git"):
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    else:
        (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n")


def as_links_into_the_cache(folder: Path, cache: Path) -> None:
    """Every file below `folder` as `cache.type symlink` leaves it."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        digest = hashlib.md5(path.as_posix().encode()).hexdigest()
        kept = cache.absolute() / "files/md5" / digest[:2] / digest[2:]
        kept.parent.mkdir(parents=True, exist_ok=True)
        path.rename(kept)
        path.symlink_to(kept)


class Project:
    """A small DVC project; `tell` sets what its stages do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        begin_project(folder)
        (folder / "dvc.yaml").write_text(DVC_YAML)
        (folder / "stage.py").write_text(STAGE)
        self.tell()

    def tell(self, **tasks: str) -> None:
        told = dict.fromkeys(("first", "left", "right", "last"), "write") | tasks
        (self.folder / "params.yaml").write_text("".join(f"{name}: {task}\n" for name, task in told.items()))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


def waiting_stage(folder: Path, patience: float = 90) -> int:
    """The process id of the stage that was told to wait, once it does."""
    deadline = time.monotonic() + patience
    while not (folder / "waiting").exists():
        assert time.monotonic() < deadline, "the stage did not start"
        time.sleep(0.05)
    return int((folder / "waiting").read_text())


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
