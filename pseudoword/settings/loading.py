"""All of params.yaml, read and checked.

settings = load_settings()
settings.train.steps        # "auto" or an int
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pseudoword.plan import AccumulationWithoutBatch
from pseudoword.schedule import WarmUpTooLong
from pseudoword.settings.base import BaseSettings, DataSettings
from pseudoword.settings.caption import CaptionSettings
from pseudoword.settings.choose import ChooseSettings
from pseudoword.settings.curate import CurateSettings
from pseudoword.settings.doctor import DoctorSettings
from pseudoword.settings.evaluate import EvaluateSettings
from pseudoword.settings.export import ExportSettings, NoFormatForHypernetworks
from pseudoword.settings.fields import Section
from pseudoword.settings.hypernetwork import HypernetworkSettings
from pseudoword.settings.judge import JudgeSettings
from pseudoword.settings.kind import resolve_kind
from pseudoword.settings.latents import LatentsSettings
from pseudoword.settings.messages import ELSEWHERE, BadSettings, explain, keys_of, nearest, shown
from pseudoword.settings.preprocess import PreprocessSettings
from pseudoword.settings.sweep import SWEPT, read_value, runs
from pseudoword.settings.train import TrainSettings, idle
from pseudoword.settings.word import WordSettings

PARAMS = Path("params.yaml")


def _all_defaults() -> Any:
    return Field(default_factory=dict, validate_default=True)


class Settings(Section):
    data: DataSettings
    base: BaseSettings
    word: WordSettings
    preprocess: PreprocessSettings = _all_defaults()
    caption: CaptionSettings = _all_defaults()
    curate: CurateSettings = _all_defaults()
    doctor: DoctorSettings = _all_defaults()
    latents: LatentsSettings = _all_defaults()
    train: TrainSettings = _all_defaults()
    hypernetwork: HypernetworkSettings = _all_defaults()
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="Axes as section.key: [values] over word and train; their product trains together.",
    )
    evaluate: EvaluateSettings = _all_defaults()
    judge: JudgeSettings = _all_defaults()
    choose: ChooseSettings = _all_defaults()
    export: ExportSettings = _all_defaults()

    @model_validator(mode="before")
    @classmethod
    def _resolve_kind(cls, content: Any) -> Any:
        return resolve_kind(content)


def load_settings(path: Path = PARAMS) -> Settings:
    """Read and check all of params.yaml, and read the files that it names.

    Raises BadSettings with one line per mistake: its key, what was found, what is wanted, the nearest valid key.
    """
    return read_settings(read_content(path), path)


def read_settings(content: dict[Any, Any], path: Path = PARAMS) -> Settings:
    """The settings that this content of `path` comes to; otherwise as `load_settings`."""
    try:
        problems = list(_typographic(content))
    except RecursionError:
        raise BadSettings(path, ["an alias (*name) that holds itself; write the values out"]) from None
    if problems:
        raise BadSettings(path, problems)
    try:
        settings = Settings.model_validate(content)
    except ValidationError as error:
        raise BadSettings(path, explain(error.errors(), Settings)) from None
    if problems := _sweep_problems(settings) or _problems_of_runs(settings):
        raise BadSettings(path, problems)
    return settings


def read_content(path: Path) -> dict[Any, Any]:
    """The file's values as DVC reads them: YAML 1.2, where 1:50 is text and 1e-8 a number. Raises BadSettings."""
    try:
        # The C parser, where it is installed, tells mistakes in other words and at other lines.
        content = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadSettings(path, [f"there is no such file in {Path.cwd()}; run from the project's folder"]) from None
    except MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        # Of a key that is there twice it tells the value too, which may be a whole section.
        problem = re.sub('" with value.*', '"', " ".join(str(error.problem).split()))
        if _tab_in(path, error):
            problem = "a tab before the key; YAML takes spaces only"
        elif tag := re.search("constructor for the tag '(.*)'", problem):
            problem = f"the tag {tag[1]}, which is for another program; write a plain value"
        raise BadSettings(path, [f"not YAML: {line}{problem}"]) from None
    except UnicodeDecodeError as error:
        number = error.object[: error.start].count(b"\n") + 1
        raise BadSettings(
            path, [f"not UTF-8: line {number} holds a letter in another encoding; save it as UTF-8"]
        ) from None
    except RecursionError:
        raise BadSettings(path, ["not YAML that can be read: brackets in brackets, hundreds deep"]) from None
    except (YAMLError, ValueError, LookupError) as error:  # the latter of a wrong date or number
        raise BadSettings(path, [f"not YAML: {error}"]) from None
    if not isinstance(content, dict):
        found = "nothing" if content is None else shown(content)
        raise BadSettings(path, [f"found {found}, wanted sections such as 'train:'"])
    return content


def _tab_in(path: Path, error: MarkedYAMLError) -> bool:
    """Whether the line that YAML stumbled over is indented by tabs."""
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    at = error.problem_mark.line if error.problem_mark else len(lines)
    return at < len(lines) and "\t" in lines[at][: len(lines[at]) - len(lines[at].lstrip())]


# Opening ones of any language, single and double.
QUOTES = re.compile(r"[\u2018-\u201f\u00ab\u00bb]")


def _typographic(content: object, path: str = "") -> Iterator[str]:
    """Texts in quotes that are none to YAML, which would be taken for part of them."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _typographic(value, f"{path}.{key}" if path else str(key))
    elif isinstance(content, list):
        for value in content:
            yield from _typographic(value, path)
    elif isinstance(content, str) and QUOTES.match(content):
        yield f"{path}: found {content!r}, whose quotes would be part of the text; write plain ones, or none"


def _sweep_problems(settings: Settings) -> list[str]:
    """One line for each axis or value that cannot be."""
    problems = []
    for axis, values in settings.sweep.items():
        if axis not in SWEPT:
            problems.append(f"sweep: '{axis}' cannot be swept{_why_not(axis)}")
            continue
        section, key = axis.split(".")
        known: list[tuple[Any, Any]] = []  # values as they are written, and what they mean
        for value in values:
            try:
                meant = read_value(getattr(settings, section), key, value)
            except ValidationError as error:
                located: Any = [{**details, "loc": (section, *details["loc"])} for details in error.errors()]
                problems += [f"sweep: {line}" for line in explain(located, Settings)]
                continue
            if equal := [other for other, its in known if its == meant]:
                problems.append(f"sweep: {axis}: {shown(equal[0])} and {shown(value)} would train the same run twice")
            known.append((value, meant))
    return problems or list(_idle_axes(settings))


def _idle_axes(settings: Settings) -> Iterator[str]:
    """One line for each axis whose values change nothing in any run, so that these would learn the same."""
    swept = list(runs(settings).values())
    found = [_idle(run) for run in swept]
    for axis in settings.sweep:
        if all(axis in of_run for of_run in found):
            because, wanted = found[0][axis]
            section, key = because.split(".")
            now = getattr(getattr(swept[0], section), key)
            yield (
                f"sweep: {axis} has no effect with {because}: {now}, so the same would be trained several times; take "
                f"the axis away, or set {because} to {' or '.join(wanted)}"
            )


def _idle(run: Settings) -> dict[str, tuple[str, tuple[str, ...]]]:
    """As `pseudoword.settings.train.idle`, by dotted keys of all that is swept."""
    of_word = run.train.learn == "word"
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for axis in SWEPT:
        section = axis.split(".")[0]
        if section in ("word", "hypernetwork") and (section == "word") != of_word:
            found[axis] = "train.learn", (section,)
    if of_word and run.word.init_file is not None:
        found["word.init_text"] = "word.init_file", ("null",)
    if not of_word and run.hypernetwork.init_file is not None:
        found["hypernetwork.initialisation"] = "hypernetwork.init_file", ("null",)
    return found | {f"train.{key}": (f"train.{other}", values) for key, (other, values) in idle(run.train).items()}


def _why_not(axis: str) -> str:
    *section, key = axis.split(".")
    known = keys_of(Settings, section) if section else []
    meant = axis if key in known else ".".join([*section, ELSEWHERE.get(key.lower(), key)])
    if meant in SWEPT:
        return f", did you mean '{meant}'?"
    if meant.split(".")[-1] in known:
        named = "" if meant == axis else f" it is {meant} here, and"
        return f":{named} the runs of a sweep share it. Use `dvc exp run -S {meant}=...` for each value"
    return nearest(axis, SWEPT) or f"; can be: {', '.join(SWEPT)}"


def _problems_of_runs(settings: Settings) -> list[str]:
    """What does not fit together in a run of the sweep."""
    problems = [
        str(WarmUpTooLong(run.train.warm_up, run.train.steps))
        for run in runs(settings).values()
        if isinstance(run.train.steps, int) and run.train.warm_up >= run.train.steps
    ]
    if isinstance(settings.train.accumulation, int) and settings.train.batch == "auto":
        problems.append(str(AccumulationWithoutBatch(settings.train.accumulation)))
    if settings.train.learn == "hypernetwork":
        try:
            _ = settings.export.of_hypernetworks
        except NoFormatForHypernetworks as error:
            problems.append(str(error))
    return list(dict.fromkeys(problems))
