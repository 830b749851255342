"""The stages of dvc.yaml, and what each reads of params.yaml: its `meta.settings`."""

from pathlib import Path

from ruamel.yaml import YAML


def settings_by_stage(graph: Path) -> dict[str, list[str]]:
    """Of each stage but check."""
    stages = YAML(typ="safe").load(graph.read_text(encoding="utf-8"))["stages"]
    return {name: stage["meta"]["settings"] for name, stage in stages.items() if name != "check"}
