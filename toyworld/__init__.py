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


def state_file(stage: str) -> Path:
    """Where a stopped training of these very settings is kept: outside the stage's outs, which DVC deletes first."""
    settings = json.dumps(stage_params(stage), sort_keys=True)
    return BUILD / "state" / f"{stage}-{hashlib.sha256(settings.encode()).hexdigest()[:12]}.pt"
