"""A project with params.yaml as ours is, two quick stages and pictures: `look` at them, then `learn` by the rate."""

import shutil
import subprocess
from pathlib import Path
from typing import Self

from tests.dvc_project import ROOT, begin_project

PARAMS = """# remarks stay
data: {folder: data/cat}
base: {model: models/tiny}
word: {name: snorf}
train:
  learn_rate: 0.005  # a rate
  seed: 0
sweep: {}
"""
DVC_YAML = """
params: [params.yaml]
stages:
  look:
    cmd: python stage.py look
    deps: ["${data.folder}", stage.py]
    params: [data]
    outs: [outputs/look.txt]
  learn:
    cmd: python stage.py learn
    deps: [outputs/look.txt, stage.py]
    params: [train, sweep]
    outs: [outputs/learn.txt, outputs/embedding, outputs/report]
    metrics: [outputs/metrics.json]
"""
STAGE = """
import json, os, sys, time
from pathlib import Path
import yaml

sys.path.insert(0, "ROOT")
from stages._parent import end_with_dvc
end_with_dvc()
name, params = sys.argv[1], yaml.safe_load(Path("params.yaml").read_text())
with open(Path(os.environ.get("PSEUDOWORD_SCRATCH", ".scratch"), "journal"), "a") as journal:
    print(name, params["train"], params.get("sweep"), file=journal)
Path("outputs").mkdir(exist_ok=True)
if name == "look":
    pictures = sorted(Path(params["data"]["folder"]).glob("*.png"))
    Path("outputs/look.txt").write_text(" ".join(path.read_text() for path in pictures))
else:
    if params["train"]["learn_rate"] == 13:
        sys.exit("error: 13 is unlucky")
    Path(".scratch/progress").mkdir(parents=True, exist_ok=True)
    Path(".scratch/progress/learn.json").write_text(json.dumps(
        {"label": "learn", "done": 1, "total": 4, "unit": "step", "rate": 1, "said": "loss 0.1", "picture": None}))
    if params["train"].get("steps"):
        Path(".scratch/waiting").write_text(str(os.getpid()))
        time.sleep(params["train"]["steps"])
    Path("outputs/embedding").mkdir(exist_ok=True)
    Path("outputs/embedding/snorf.safetensors").write_text("a word")
    Path("outputs/report").mkdir(exist_ok=True)
    Path("outputs/report/index.html").write_text("a page")
    Path("outputs/learn.txt").write_text(f"{Path('outputs/look.txt').read_text()} {params['train']}")
    Path("outputs/metrics.json").write_text(json.dumps({"chosen": {"rate": params["train"]["learn_rate"]}}))
"""


class Experimental:
    """A git and DVC project in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def begin(cls, folder: Path) -> Self:
        """With one commit."""
        project = cls(folder)
        begin_project(folder)
        (folder / ".gitignore").write_text("/.scratch/\n/outputs/\n")
        (folder / ".dvcignore").write_text("/.scratch/\n")
        (folder / ".scratch").mkdir()
        (folder / "params.yaml").write_text(PARAMS)
        (folder / "dvc.yaml").write_text(DVC_YAML)
        (folder / "stage.py").write_text(STAGE.replace("ROOT", str(ROOT)))
        project.pictures("data/cat", "cat")
        shutil.copytree(ROOT / "templates", folder / "templates")
        project.git("config", "user.name", "somebody")
        project.git("config", "user.email", "somebody@example.org")
        project.git("add", "--all")
        project.git("commit", "--quiet", "--message", "begin")
        return project

    def pictures(self, folder: str, content: str) -> None:
        path = self.folder / folder
        path.mkdir(parents=True, exist_ok=True)
        (path / "1.png").write_text(content)

    def git(self, *arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=self.folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    def at(self, revision: str, path: str) -> str:
        return self.git("show", f"{revision}:{path}")

    def experiments(self) -> dict[str, str]:
        """The commit of each experiment over the present one, by its name."""
        head = self.git("rev-parse", "HEAD")
        lines = self.git(
            "for-each-ref", "--format=%(refname:lstrip=4) %(objectname)", f"refs/exps/{head[:2]}/{head[2:]}"
        )
        return dict(line.split() for line in lines.splitlines())

    def journal(self) -> list[str]:
        """What stages ran, by the name of the stage, in whichever workspace."""
        path = self.folder / ".scratch/journal"
        return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []

    def result(self, name: str) -> str:
        return (self.folder / ".scratch/workspaces" / name / "outputs/learn.txt").read_text()
