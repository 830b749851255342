"""Mistakes in params.yaml in plain words: the key, what was found, what is wanted, the nearest valid key."""

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from pseudoword.errors import UserError
from pseudoword.settings.sweep import SWEPT

MAX_SHOWN = 100  # characters of a wrong value
MAX_DISTANCE = 0.5  # of a misspelt key, below which nothing is proposed: difflib's ratio
MIN_ALIKE = 0.7  # likewise, of a value that is one of a few
YES_AND_NO = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}  # YAML 1.1's

# What other trainers call it.
ELSEWHERE = {
    "lr": "learn_rate", "learning_rate": "learn_rate", "rate": "learn_rate", "lr_scheduler": "decay",
    "lr_warmup_steps": "warm_up", "warmup": "warm_up", "epochs": "steps", "iterations": "steps",
    "max_train_steps": "steps", "max_steps": "steps", "batch_size": "batch", "train_batch_size": "batch",
    "gradient_accumulation_steps": "accumulation", "snr_gamma": "min_snr_gamma", "num_vectors": "vectors",
    "tokens": "vectors", "initializer_token": "init_text", "initialization_text": "init_text", "init": "init_text",
    "placeholder_token": "name", "token": "name", "pretrained_model_name_or_path": "model", "checkpoint": "model",
    "train_data_dir": "folder", "path": "folder", "dir": "folder", "size": "resolution", "ema": "average",
    "learnable_property": "kind", "concept": "kind", "subject": "cut",
    "flip": "mirror", "dtype": "precision", "mixed_precision": "precision", "cfg": "guidance", "cfg_scale": "guidance",
}  # fmt: skip

# Keys of the past, with what they are now.
MOVED = {
    "evaluate.judge": "judge.texts",
    "evaluate.likeness": "a weight relative to the others, choose.likeness,",
}


class BadSettings(UserError):
    """One line for each wrong key or value."""

    def __init__(self, path: Path, problems: Iterable[str]) -> None:
        super().__init__(f"{path} is not valid:\n" + "\n".join(f"  {problem}" for problem in problems))


def explain(errors: Sequence[ErrorDetails], model: type[BaseModel]) -> list[str]:
    """One line for each wrong key of `model`; a union such as `auto | int` has an error for each member, joined by
    'or'."""
    found: dict[str, str] = {}
    wanted: dict[str, list[str]] = {}
    hints: dict[str, str] = {}
    for error in errors:
        keys, kind = ["null" if part in (None, "None") else str(part) for part in error["loc"]], error["type"]
        if kind == "extra_forbidden":
            known, key = keys_of(model, keys[:-1]), ".".join(keys)
            moved = f"; it is {MOVED[key]} now" if key in MOVED else ""
            proposed = moved or nearest(keys[-1], known) or f"; valid here: {', '.join(known)}"
            found[key] = f"unknown key{proposed}"
            continue
        path = ".".join(_keys_in_file(model, keys))
        if kind == "missing":
            found[path] = "missing"
            continue
        together = kind == "value_error" and isinstance(error["input"], dict)
        found.setdefault(path, f"found {'values that do not fit together' if together else shown(error['input'])}")
        if (text := _wanted(error, model, keys)) not in wanted.setdefault(path, []):
            wanted[path].append(text)
        hints[path] = hints.get(path) or _hint(path, error)
    return [
        f"{path}: {text}" + (f", wanted {' or '.join(wanted[path])}{hints[path]}" if path in wanted else "")
        for path, text in found.items()
    ]


# In place of pydantic's words, where those are a programmer's.
PLAIN = {
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number that is finite",
    "string_type": "text",
    "list_type": "a list such as [a, b]",
    "greater_than_equal": "at least {ge:g}",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "at most {le:.9g}",
    "less_than": "less than {lt:g}",
    "multiple_of": "a multiple of {multiple_of:g}",
    "too_short": "a list with something in it",
    "string_too_short": "text that is not empty",
    "literal_error": "{expected}",
    "dict_type": "axes such as {{train.seed: [0, 1]}}",
    "invalid_key": "keys that are text",
    "path_type": "the path of a file or folder",
}


def _wanted(error: ErrorDetails, model: type[BaseModel], keys: list[str]) -> str:
    kind, value = error["type"], error["input"]
    if kind in ("model_type", "model_attributes_type"):
        return f"the keys {', '.join(keys_of(model, keys))}"
    text = PLAIN[kind].format(**error.get("ctx", {})) if kind in PLAIN else error["msg"].removeprefix("Value error, ")
    if kind in ("string_type", "path_type") and isinstance(value, (int, float, date)) and not isinstance(value, bool):
        text += ", in quotes"
    return text


def _hint(path: str, error: ErrorDetails) -> str:
    """How to write what was probably meant."""
    value, kind = error["input"], error["type"]
    if isinstance(value, list) and path in SWEPT and path != "train.betas":
        return f"; to try several, sweep: {{{path}: {_yaml(value)}}}"
    if isinstance(value, str) and kind.startswith("float"):
        if found := re.fullmatch(r"([+-]?\d+),(\d+)", value):
            return f"; with a decimal point: {found[1]}.{found[2]}"
        if found := re.fullmatch(r"([+-]?\d+(?:\.\d+)?) ?%", value):
            return f"; as a share: {float(found[1]) / 100:g}"
    if kind.startswith("int") and isinstance(value, float) and value.is_integer():
        return f"; as {int(value)}"
    if kind.startswith("int") and isinstance(value, str) and re.fullmatch(r"\d+|\d{1,3}([ ,_]\d{3})+", value.strip()):
        return f"; as {int(re.sub(r'[ ,_]', '', value))}, without quotes"
    if kind.startswith("bool") and isinstance(value, str) and value.lower() in YES_AND_NO:
        return f"; as {YES_AND_NO[value.lower()]}"
    if kind == "literal_error" and isinstance(value, str):
        options = re.findall("'(.*?)'", error.get("ctx", {}).get("expected", ""))
        near = difflib.get_close_matches(value.strip().lower(), options, 1, MIN_ALIKE)
        return f"; did you mean '{near[0]}'?" if near else ""
    return ""


def shown(value: object) -> str:
    """As params.yaml would write it, cut where it is long; "nothing" for null."""
    text = "nothing" if value is None else _yaml(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def _yaml(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_yaml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_yaml(item)}' for key, item in value.items())}}}"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float) and not math.isfinite(value):
        return f".{value}" if value != -math.inf else "-.inf"
    return value.isoformat() if isinstance(value, date) else repr(value)


def keys_of(model: type[BaseModel], path: list[str]) -> list[str]:
    """The keys of the section at `path`; none where there is no section."""
    for key in path:
        annotation: Any = model.model_fields[key].annotation if key in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def nearest(key: str, known: Iterable[str]) -> str:
    known = list(known)
    near = [name for name in (ELSEWHERE.get(key.lower()),) if name in known]
    near += difflib.get_close_matches(key, known, 1, MAX_DISTANCE)
    return f", did you mean '{near[0]}'?" if near else ""


def _keys_in_file(model: type[BaseModel], keys: list[str]) -> list[str]:
    """Union members ("constrained-int", "literal['auto']") are part of pydantic's location but no key of the file."""
    depth = 2
    while depth < len(keys) and keys[depth] in keys_of(model, keys[:depth]):
        depth += 1
    return keys[:depth]
