"""toyworld: how the embedded base model in `models/toyworld` was made, a small DVC project of its own."""

import hashlib
import json
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
BUILD = HERE / "build"


def stage_params(stage: str) -> dict[str, Any]:
    """The stage's section of toyworld/params.yaml: the keyword arguments of its one function."""
    sections: dict[str, dict[str, Any]] = yaml.safe_load((HERE / "params.yaml").read_text())
    return sections[stage]


def stage_arguments(stage: str, going_on: list[str]) -> dict[str, Any]:
    """The section, or with the words MODEL STEPS: from the weights in a packed model, so many steps more."""
    arguments = stage_params(stage)
    if not going_on:
        return arguments | {"begun": None}
    if len(going_on) != 2 or not going_on[1].isdigit() or not Path(going_on[0], "model_index.json").is_file():
        raise SystemExit(f"{stage}: '{' '.join(going_on)}' is not a model folder and a number of steps")
    return arguments | {"begun": Path(going_on[0]), "steps": int(going_on[1])}


def state_file(stage: str, begun: Path | None = None, steps: int | None = None) -> Path:
    """Where a stopped training of these very settings is kept: outside the stage's outs, which DVC deletes first."""
    settings = json.dumps([stage_params(stage), begun and str(begun.resolve()), steps], sort_keys=True)
    return BUILD / "state" / f"{stage}-{hashlib.sha256(settings.encode()).hexdigest()[:12]}.pt"
