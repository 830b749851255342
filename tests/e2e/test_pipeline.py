"""The whole pipeline on the embedded base model, through `dvc repro`, as a person with a clone runs it."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from diffusers import StableDiffusionPipeline

from pseudoword.formats.embedding import load_embedding
from tests.dvc_project import begin_project

ROOT = Path(__file__).parents[2]
FOLDERS = ("app", "data", "models", "pseudoword", "stages", "templates")
FILES = ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore")
STAGES = ["check", "preprocess", "caption", "curate", "doctor", "latents", "train", "evaluate", "judge", "choose",
          "export", "report"]  # fmt: skip
# Small enough for two busy cores, large enough to learn.
QUICK = {
    "train": {"steps": 60, "save_every": 20},
    "caption": {"beams": 1},
    "evaluate": {"seeds": 1, "timesteps": 2, "shortlist": 2, "inference_steps": 10},
}


def begin(command: list[str], folder: Path) -> subprocess.Popen[str]:
    """A command in `folder` with its own code and this interpreter as `python`, in a process group of its own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment | {"PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def start(command: list[str], folder: Path) -> tuple[int, str]:
    """Exit code and all that the command printed."""
    running = begin(command, folder)
    printed = running.communicate()[0]
    return running.returncode, printed


def run(command: list[str], folder: Path) -> str:
    """All that the command printed. Fails the test when it does."""
    code, printed = start(command, folder)
    assert code == 0, printed
    return printed


def repro(folder: Path, *arguments: str) -> list[str]:
    """Run `dvc repro` and return the stages that ran."""
    printed = run([sys.executable, "-m", "dvc", "repro", *arguments], folder)
    return re.findall(r"Running stage '([a-z]+)'", printed)


def change(folder: Path, changes: dict[str, dict[str, object]]) -> None:
    path = folder / "params.yaml"
    content = yaml.safe_load(path.read_text())
    for section, values in changes.items():
        content[section] |= values
    path.write_text(yaml.safe_dump(content))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout with quick settings, reproduced once."""
    folder = tmp_path_factory.mktemp("project")
    leave = shutil.ignore_patterns("__pycache__", "tmp", "cache", "config.local")
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=leave)
    for name in FILES:
        shutil.copy(ROOT / name, folder / name)
    begin_project(folder)
    change(folder, QUICK)
    assert repro(folder) == STAGES
    return folder


def test_every_promised_file_is_there(project: Path):
    outputs = project / "outputs"
    pictures = pd.read_csv(outputs / "pictures.csv")
    assert (
        len(list((outputs / "pictures").glob("*.png"))) == len(pictures) == len(list(project.glob("data/sample/*.png")))
    )
    for name in ("drafts.csv", "captions.csv", "latents/index.json", "training/base/loss.csv", "evaluation/losses.csv",
                 "judged/pictures.csv", "choice/scores.csv", "choice/chosen.png", "embedding/snorf.safetensors",
                 "report/index.html"):  # fmt: skip
        assert (outputs / name).stat().st_size > 0
    steps = sorted(path.name for path in (outputs / "words/base/steps").iterdir())
    assert steps == ["snorf-0.safetensors", "snorf-20.safetensors", "snorf-40.safetensors", "snorf-60.safetensors"]


def test_the_columns_and_keys_of_each_file_are_those_that_the_docs_tell(project: Path):
    documented = {}
    for row in re.findall(r"^\| (`outputs/.*`) \| \w+ \| (.*) \|$", (ROOT / "docs/files.md").read_text(), re.MULTILINE):
        documented[re.findall("`(.*?)`", row[0])[0].replace("<run>", "base").replace("<stage>", "train")] = row[1]
    read = [name for name in documented if name.endswith((".csv", ".json"))]
    assert len(read) >= 12
    for name in read:
        if name.endswith(".csv"):
            columns = (project / name).read_text().splitlines()[0].split(",")
            told = re.findall("`(.*?)`", documented[name])[0].split(", ")
            # The drafts have a column for each drafter, which the page tells in words.
            assert columns[: len(told)] == told and len(columns) - len(told) == (name == "outputs/drafts.csv"), name
        elif name != "outputs/words/base/settings.json":
            told = set(re.findall(r"\w+", " ".join(re.findall("`(.*?)`", documented[name]))))
            assert set(json.loads((project / name).read_text())) <= told, name


def test_the_word_is_learned(project: Path):
    metrics = json.loads((project / "outputs/choice/metrics.json").read_text())
    choice = json.loads((project / "outputs/choice/choice.json").read_text())
    assert choice["better_than_init"] and metrics["chosen"]["likeness"] > 0.5 and metrics["init"]["likeness"] == 0
    assert metrics["chosen"]["loss"] < metrics["init"]["loss"]


def test_the_exported_file_loads_in_diffusers_and_changes_the_picture(project: Path):
    pipeline = StableDiffusionPipeline.from_pretrained(project / "models/toyworld", dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)

    def draw() -> torch.Tensor:
        generator = torch.Generator().manual_seed(0)
        images = pipeline("a snorf by the sea", num_inference_steps=5, generator=generator, output_type="pt").images
        return torch.as_tensor(images)

    before = draw()
    pipeline.load_textual_inversion(project / "outputs/embedding/snorf.safetensors")
    assert (draw() - before).abs().mean() > 0.02


def test_the_exported_file_says_how_it_was_made(project: Path):
    metadata = load_embedding(project / "outputs/embedding/snorf.safetensors").metadata
    assert metadata["modelspec.trigger_phrase"] == "snorf"
    assert metadata["pseudoword.base_model"] == "models/toyworld"
    assert 0 < float(metadata["pseudoword.loss"]) < 1


def test_judged_again_the_stored_pictures_have_the_same_figures(project: Path):
    def figures(*options: str) -> list[dict[str, object]]:
        printed = run([sys.executable, "-m", "pseudoword", "compare", "--json", *options], project)
        return list(json.loads(printed[printed.index("{") :])["trainings"])

    assert figures() == figures("--judge-again")


def test_a_second_repro_runs_nothing(project: Path):
    assert repro(project) == ["check"]


def test_another_form_of_the_file_runs_export_alone(project: Path):
    change(project, {"export": {"formats": ["pt", "safetensors"]}})
    assert repro(project) == ["check", "export"]


@pytest.mark.slow
def test_a_persons_caption_runs_what_reads_captions_and_not_the_latents(project: Path):
    (project / "data/sample/thing-01.txt").write_text("far away, at dawn\n")
    ran = repro(project)
    assert set(ran) - {"preprocess"} == {
        "check",
        "curate",
        "doctor",
        "train",
        "evaluate",
        "judge",
        "choose",
        "export",
        "report",
    }
    captions = pd.read_csv(project / "outputs/captions.csv")
    assert captions[captions["origin"] == "file"]["caption"].tolist() == ["far away, at dawn"]


@pytest.mark.slow
def test_another_number_of_steps_runs_train_and_what_follows(project: Path):
    change(project, {"train": {"steps": 40}})
    assert repro(project) == ["check", "doctor", "train", "evaluate", "judge", "choose", "export", "report"]


def test_a_wrong_key_is_refused_before_any_work_with_the_nearest_valid_one(project: Path):
    before = (project / "params.yaml").read_text()
    change(project, {"train": {"learning_rate": 0.1}})
    code, printed = start([sys.executable, "-m", "dvc", "repro"], project)
    (project / "params.yaml").write_text(before)
    assert code != 0
    assert "train.learning_rate: unknown key, did you mean 'learn_rate'?" in printed
    assert repro(project) == ["check"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_outputs_that_are_links_into_the_cache_are_read_by_every_stage_and_by_compare(project: Path):
    made = (project / "outputs/embedding/snorf.safetensors").read_bytes()
    dvc = [sys.executable, "-m", "dvc"]
    run([*dvc, "config", "--local", "cache.type", "symlink"], project)
    run([*dvc, "checkout", "--relink"], project)
    assert (project / "outputs/words/base/settings.json").is_symlink()
    repro(project, "--force")
    assert (project / "outputs/embedding/snorf.safetensors").read_bytes() == made
    run([sys.executable, "-m", "pseudoword", "compare", ".", "--judge-again", "--out", "page"], project)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_repro_that_is_killed_again_and_again_ends_with_the_same_bytes(project: Path):
    """SIGKILL to dvc and its stage at once while the word is trained, and `dvc repro` after each."""
    change(project, {"train": {"steps": 40}})
    assert "train" in repro(project, "train")
    words = {path: path.read_bytes() for path in project.glob("outputs/words/**/*") if path.is_file()}
    change(project, {"train": {"steps": 2}})  # another training in between: nothing is taken from the run cache
    repro(project, "train")
    change(project, {"train": {"steps": 40}})
    shutil.rmtree(project / ".scratch/train")
    moments, went_on = random.Random(0), 0
    for _ in range(5):
        command = [sys.executable, "-m", "dvc", "repro", "--no-run-cache", "train"]
        running = begin(command, project)
        assert running.stdout
        while "rows at once" not in (line := running.stdout.readline()) and line:
            pass
        time.sleep(moments.uniform(0, 4))
        os.killpg(running.pid, signal.SIGKILL)
        went_on += "going on at step" in running.communicate()[0]
    assert went_on
    assert "train" in repro(project, "--no-run-cache", "train")
    assert {path: path.read_bytes() for path in project.glob("outputs/words/**/*") if path.is_file()} == words
