"""`make toyworld` as one piece, from nothing, on a tiny budget."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

ROOT = Path(__file__).parents[2]
TINY: dict[str, dict[str, Any]] = {
    "render": {"train_pictures": 400, "check_pictures": 96, "varied_pictures": 100},
    "vae": {"channels": [8, 8, 8, 8], "steps": 3, "batch": 4},
    "decoder": {"steps": 3, "batch": 4},
    "clip": {"width": 16, "text_layers": 1, "vision_layers": 1, "steps": 3, "batch": 16},
    "judge": {"width": 16, "text_layers": 1, "vision_layers": 1, "steps": 3, "batch": 16},
    "unet": {"channels": [16, 16], "steps": 3, "batch": 4},
    "blip": {"width": 16, "steps": 3, "batch": 4},
    "families": {"families": 8},
    "image_judge": {"channels": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "steps": 3, "families": 4},
    "check": {"prompts": 4, "inference_steps": 2},
}


def command(folder: Path, *words: str) -> str:
    """All that a Python module prints that is run in `folder`. Fails the test when the module does."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_part_is_made_from_nothing_and_can_be_gone_on_with(tmp_path: Path) -> None:
    folder = tmp_path / "toyworld"
    shutil.copytree(ROOT / "toyworld", folder, ignore=shutil.ignore_patterns("build", "__pycache__", "dvc.lock"))
    params = yaml.safe_load((folder / "params.yaml").read_text())
    assert params.keys() >= TINY.keys()
    for section, values in TINY.items():
        assert params[section].keys() >= values.keys()
        params[section] |= values
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    command(folder, "dvc", "config", "core.no_scm", "true")
    command(folder, "dvc", "repro")

    pipeline = StableDiffusionPipeline.from_pretrained(folder / "build/model")
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline("a zibo by the sea", num_inference_steps=2).images[0].size == (64, 64)
    figures = json.loads((folder / "build/check.json").read_text())
    assert {"generated_noun", "look_alike_retrieval", "likeness_smeared_share", "blip_style"} <= figures.keys()
    assert "didn't change" in command(folder, "dvc", "repro", "unet")

    begun = shutil.copytree(folder / "build/model", tmp_path / "begun")
    command(tmp_path, "toyworld.unet", str(begun), "2")
    moved = UNet2DConditionModel.from_pretrained(folder / "build/unet").conv_in.weight - pipeline.unet.conv_in.weight
    assert 0 < moved.norm() < 0.5 * pipeline.unet.conv_in.weight.norm()  # gone on with, not begun anew
