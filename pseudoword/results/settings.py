"""Settings side by side: under dotted keys, as text."""

import json
from collections.abc import Mapping
from typing import Any


def flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Each value under its keys joined by dots, as `dvc exp run -S` takes them."""
    spread: dict[str, Any] = {}
    for key, value in settings.items():
        inner = flat(value) if isinstance(value, dict) else {}
        spread |= {f"{key}.{rest}": leaf for rest, leaf in inner.items()} or {key: value}
    return spread


def plain(value: Any) -> str:
    """A setting's value as one would write it in params.yaml."""
    return value if isinstance(value, str) and value else json.dumps(value, default=str)


def swept(settings: Mapping[str, Mapping[str, Any]], run: str) -> dict[str, str]:
    """Of the settings of all runs, by name, those in which they differ, as this run has them."""
    runs = {name: flat(values) for name, values in settings.items()}
    values = {key: {plain(each.get(key)) for each in runs.values()} for key in runs[run]}
    return {key: plain(runs[run][key]) for key in values if len(values[key]) > 1}
