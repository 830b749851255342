"""params.yaml as frozen pydantic models, one file per section; unknown keys refused with the nearest valid one.

settings = load_settings()
settings.train.steps        # "auto" or an int
"""

import difflib
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pseudoword.errors import UserError
from pseudoword.schedule import WarmUpTooLong
from pseudoword.settings.base import Base, Data
from pseudoword.settings.caption import Caption
from pseudoword.settings.curate import Curate
from pseudoword.settings.doctor import Doctor
from pseudoword.settings.evaluate import Evaluate
from pseudoword.settings.export import Export
from pseudoword.settings.fields import Section
from pseudoword.settings.latents import Latents
from pseudoword.settings.preprocess import Preprocess
from pseudoword.settings.train import Train
from pseudoword.settings.word import EMBEDDINGS, Word
from pseudoword.templates import BadTemplate, read_templates

PARAMS = Path("params.yaml")
MOST_SHOWN = 100  # characters of a wrong value


class BadSettings(UserError):
    """One line for each wrong key or value."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__(f"{path} is not valid:\n" + "\n".join(f"  {problem}" for problem in problems))


SweepAxes = dict[str, Annotated[list[Any], Field(min_length=1)]]


class Settings(Section):
    data: Data
    base: Base
    word: Word
    preprocess: Preprocess
    caption: Caption
    curate: Curate
    doctor: Doctor
    latents: Latents
    train: Train
    sweep: SweepAxes = Field(
        default_factory=dict,
        description="Axes as section.key: [values] over word and train; their product trains together.",
    )
    evaluate: Evaluate
    export: Export


def load_settings(path: Path = PARAMS) -> Settings:
    """Read and check all of params.yaml.

    Raises BadSettings with one line per mistake: its key, what was found, what is wanted, the nearest valid key.
    """
    try:
        settings = Settings.model_validate(_content(path))
    except ValidationError as error:
        raise BadSettings(path, _explain(error.errors())) from None
    if problems := _sweep_problems(settings) or _problems_ahead(settings):
        raise BadSettings(path, problems)
    return settings


def _content(path: Path) -> dict[Any, Any]:
    """The file's values as DVC reads them: YAML 1.2, where 1:50 is text and 1e-8 a number. Raises BadSettings."""
    try:
        content = YAML(typ="safe").load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadSettings(path, [f"there is no such file in {Path.cwd()}; run from the project's folder"]) from None
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        # Of a key that is there twice it tells the value too, which may be a whole section.
        problem = re.sub('" with value.*', '"', " ".join(str(error.problem).split()))
        raise BadSettings(path, [f"not YAML: {line}{problem}"]) from None
    except (YAMLError, ValueError, LookupError) as error:  # the latter of a wrong date or number
        raise BadSettings(path, [f"not YAML: {error}"]) from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else _shown(content)
        raise BadSettings(path, [f"found {found}, wanted sections such as 'train:'"])
    return content


def runs(settings: Settings) -> dict[str, Settings]:
    """The settings of each run of the sweep by its name; without a sweep the one run is called `base`."""
    combinations: list[dict[str, Any]] = [{}]
    for axis, values in settings.sweep.items():
        combinations = [{**chosen, axis: value} for chosen in combinations for value in values]
    return {f"run{at:02d}" if settings.sweep else "base": _with(settings, c) for at, c in enumerate(combinations)}


def _with(settings: Settings, changes: dict[str, Any]) -> Settings:
    """`settings` with `section.key` values exchanged, checked again."""
    content = settings.model_dump()
    for axis, value in changes.items():
        section, key = axis.split(".")
        content[section][key] = value
    return Settings.model_validate(content)


# What differs between runs that share a UNet batch. The rest of train is common to all of them.
SWEPT = (
    "word.vectors", "word.init_text", "word.init_file",
    *(f"train.{key}" for key in (
        "template", "learn_rate", "warm_up", "decay", "weight_decay", "betas", "eps", "clip", "clip_at", "norm", "pull",
        "average", "loss", "huber_delta", "min_snr_gamma", "noise_offset", "timesteps", "latents", "shuffle_tags",
        "tag_dropout", "caption_dropout", "seed",
    )),
)  # fmt: skip
TEMPLATES = Path("templates/training")


def _sweep_problems(settings: Settings) -> list[str]:
    problems = []
    for axis, values in settings.sweep.items():
        if axis not in SWEPT:
            problems.append(f"sweep: '{axis}' cannot be swept{_why_not(axis)}")
            continue
        section, key = axis.split(".")
        known: list[tuple[Any, Any]] = []  # values as they are written, and what they mean
        for value in values:
            try:
                swept = _with(settings, {axis: value})
            except ValidationError as error:
                problems += [f"sweep: {line}" for line in _explain(error.errors())]
                continue
            # DVC watches the one template of the section and this folder; another file could change unnoticed.
            if axis == "train.template" and swept.train.template.parent != TEMPLATES:
                problems.append(f"sweep: {axis}: found '{value}', wanted a file in {TEMPLATES}")
            meant = getattr(getattr(swept, section), key)
            if equal := [other for other, its in known if its == meant]:
                problems.append(f"sweep: {axis}: {_shown(equal[0])} and {_shown(value)} would train the same run twice")
            known.append((value, meant))
    return problems


def _problems_ahead(settings: Settings) -> list[str]:
    """What a later stage would refuse, after the drafts of all captions. Nothing is made of these files here, so that
    a stage need not depend on them. A template that is missing is told of where it is read."""
    problems = []
    for run in runs(settings).values():
        steps, start = run.train.steps, run.word.init_file
        if isinstance(steps, int) and run.train.warm_up >= steps:
            problems.append(str(WarmUpTooLong(run.train.warm_up, steps)))
        if start is not None and not (EMBEDDINGS / start).is_file():
            problems.append(f"word.init_file: {EMBEDDINGS / start} does not exist")
        try:
            read_templates(run.train.template) if run.train.template.exists() else []
        except BadTemplate as error:
            problems.append(f"train.template: {error}")
    return list(dict.fromkeys(problems))


def _why_not(axis: str) -> str:
    *section, key = axis.split(".")
    if section and key in _keys_of(section):
        return f": the runs of a sweep share it. Use `dvc exp run -S {axis}=...` for each value"
    return _nearest(axis, SWEPT) or f"; can be: {', '.join(SWEPT)}"


def _explain(errors: list[ErrorDetails]) -> list[str]:
    """One line for each wrong key; a union such as `auto | int` has an error for each member, joined by 'or'."""
    lines: dict[str, str] = {}
    for error in errors:
        path, found, wanted = _problem(error)
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


def _problem(error: ErrorDetails) -> tuple[str, str, str]:
    """The key, what was found and what is wanted."""
    keys, value, kind = [str(part) for part in error["loc"]], error["input"], error["type"]
    if kind == "extra_forbidden":
        known = _keys_of(keys[:-1])
        return ".".join(keys), f"unknown key{_nearest(keys[-1], known)}; ", f"valid here: {', '.join(known)}"
    path = ".".join(_keys_in_file(keys))
    if kind == "missing":
        return path, "", "missing"
    found = f"found {_shown(value)}, wanted "
    if kind == "model_type":
        return path, found, f"the keys {', '.join(_keys_of(keys))}"
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


def _shown(value: object) -> str:
    text = value.isoformat() if isinstance(value, date) else repr(value)
    return text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}..."


def _keys_in_file(keys: list[str]) -> list[str]:
    """Union members ("constrained-int", "literal['auto']") are part of pydantic's location but no key of the file."""
    depth = 2
    while depth < len(keys) and keys[depth] in _keys_of(keys[:depth]):
        depth += 1
    return keys[:depth]


def _keys_of(path: list[str]) -> list[str]:
    model: type[BaseModel] = Settings
    for key in path:
        annotation = model.model_fields[key].annotation if key in model.model_fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        model = annotation
    return list(model.model_fields)


def _nearest(key: str, known: tuple[str, ...] | list[str]) -> str:
    near = difflib.get_close_matches(key, known, 1, 0.5)
    return f", did you mean '{near[0]}'?" if near else ""
