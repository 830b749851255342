"""Mistakes in params.yaml in plain words: the key, what was found, what is wanted, the nearest valid key."""

import difflib
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from pseudoword.errors import UserError

MAX_SHOWN = 100  # characters of a wrong value


class BadSettings(UserError):
    """One line for each wrong key or value."""

    def __init__(self, path: Path, problems: Iterable[str]) -> None:
        super().__init__(f"{path} is not valid:\n" + "\n".join(f"  {problem}" for problem in problems))


def explain(errors: list[ErrorDetails], model: type[BaseModel]) -> list[str]:
    """One line for each wrong key of `model`; a union such as `auto | int` has an error for each member, joined by
    'or'."""
    lines: dict[str, str] = {}
    for error in errors:
        path, found, wanted = _problem(error, model)
        if path not in lines:
            lines[path] = f"{path}: {found}{wanted}"
        elif not lines[path].endswith(wanted):
            lines[path] += f" or {wanted}"
    return list(lines.values())


# In place of pydantic's words, where those are a programmer's.
PLAIN = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "dict_type": "axes such as {train.seed: [0, 1]}",
    "invalid_key": "keys that are text",
    "path_type": "the path of a file or folder",
}


def _problem(error: ErrorDetails, model: type[BaseModel]) -> tuple[str, str, str]:
    """The key, what was found and what is wanted."""
    keys, value, kind = [str(part) for part in error["loc"]], error["input"], error["type"]
    if kind == "extra_forbidden":
        known = keys_of(model, keys[:-1])
        return ".".join(keys), f"unknown key{nearest(keys[-1], known)}; ", f"valid here: {', '.join(known)}"
    path = ".".join(_keys_in_file(model, keys))
    if kind == "missing":
        return path, "", "missing"
    found = f"found {shown(value)}, wanted "
    if kind == "model_type":
        return path, found, f"the keys {', '.join(keys_of(model, keys))}"
    if kind == "value_error" and isinstance(value, dict):
        found = "found values that do not fit together, wanted "
    wanted = PLAIN.get(kind) or error["msg"][0].lower() + error["msg"][1:]
    if kind in ("string_type", "path_type") and isinstance(value, (int, float, date)) and not isinstance(value, bool):
        wanted += ", in quotes"
    return (
        path,
        found,
        wanted.removeprefix("value error, ")
        .removeprefix("input should be ")
        .replace("string should match", "text that matches"),
    )


def shown(value: object) -> str:
    text = value.isoformat() if isinstance(value, date) else repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def keys_of(model: type[BaseModel], path: list[str]) -> list[str]:
    """The keys of the section at `path`; none where there is no section."""
    for key in path:
        annotation: Any = model.model_fields[key].annotation if key in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def nearest(key: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(key, list(known), 1, 0.5)
    return f", did you mean '{near[0]}'?" if near else ""


def _keys_in_file(model: type[BaseModel], keys: list[str]) -> list[str]:
    """Union members ("constrained-int", "literal['auto']") are part of pydantic's location but no key of the file."""
    depth = 2
    while depth < len(keys) and keys[depth] in keys_of(model, keys[:depth]):
        depth += 1
    return keys[:depth]
