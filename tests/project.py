"""The current folder as a project: params.yaml, and what `check` makes of it for a stage that is run by its `main`."""

from pathlib import Path
from typing import Any

import yaml

from pseudoword.settings.loading import load_settings
from stages.check.__main__ import write_code
from stages.check.graph import settings_by_stage
from stages.check.writing import write_settings

ROOT = Path(__file__).parents[1]


def shipped_params() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
    return content


def write_checked(content: dict[str, Any]) -> None:
    Path("params.yaml").write_text(yaml.safe_dump(content))
    resolve_settings()


def resolve_settings() -> None:
    """Do what `check` does after it has refused nothing."""
    if not Path("templates").exists():
        Path("templates").symlink_to(ROOT / "templates")
    keys = settings_by_stage(ROOT / "dvc.yaml")
    write_settings(load_settings(), keys)
    write_code(list(keys))
