"""A small project in which the train stage runs on a tiny random model, and that stage in a process of its own."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import torch

from pseudoword.latents import Encoded, write_latents
from tests.project import shipped_params, write_checked
from tests.tiny import tiny_stable_diffusion

ROOT = Path(__file__).parents[1]
DEFAULTS: dict[str, dict[str, object]] = {"base": {"model": "base", "device": "cpu"}}  # of this project's params.yaml
HYPERNETWORK: dict[str, dict[str, object]] = {
    "train": {"learn": "hypernetwork"},
    "hypernetwork": {"learn_rate": 0.001, "dropout": [0, 0.2, 0]},
}
IDS = [f"{number:012x}" for number in range(5)]


def make_project() -> None:
    """Fill the working folder with what the train stage reads: a tiny base model, five latents, captions."""
    tiny_stable_diffusion().save_pretrained("base")
    shutil.copytree(ROOT / "templates", "templates")
    save_latents()
    captions = ["by the sea", "", "in a cave", "at night", "null"]
    pd.DataFrame({"id": IDS, "caption": captions}).to_csv("outputs/captions.csv", index=False)
    write_params({"train": {"steps": 30}})


def save_latents(seed: int = 0) -> None:
    means = torch.randn(5, 4, 4, 4, generator=torch.Generator().manual_seed(seed))
    std = torch.full((4, 4, 4), 0.1)
    write_latents((Encoded(name, "", mean, std) for name, mean in zip(IDS, means, strict=True)), {})


def write_params(changes: dict[str, dict[str, object]]) -> None:
    content = shipped_params()
    for section, values in [*DEFAULTS.items(), *changes.items()]:
        content[section] |= values
    write_checked(content)


def outputs(*folders: str) -> dict[str, bytes]:
    """The bytes of the files below these folders, by default of both outputs."""
    paths = [path for folder in folders or ("outputs/words", "outputs/training") for path in Path(folder).rglob("*")]
    return {path.as_posix(): path.read_bytes() for path in sorted(paths) if path.is_file()}


def start_stage() -> subprocess.Popen[str]:
    """The stage in a process of its own, at the start of its updates."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "stages.train"]
    run = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert run.stdout is not None
    while "rows at once" not in (line := run.stdout.readline()) and line:
        pass
    return run


def wait_for_a_state(run: subprocess.Popen[str]) -> None:
    while run.poll() is None and not list(Path(".scratch/train").glob("*/state.safetensors")):
        time.sleep(0.01)
