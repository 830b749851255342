"""All of params.yaml, read and checked.

settings = load_settings()
settings.train.steps        # "auto" or an int
"""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from pseudoword.plan import AccumulationWithoutBatch
from pseudoword.schedule import WarmUpTooLong
from pseudoword.settings.base import Base, Data
from pseudoword.settings.caption import Caption
from pseudoword.settings.curate import Curate
from pseudoword.settings.doctor import Doctor
from pseudoword.settings.evaluate import Evaluate
from pseudoword.settings.export import Export
from pseudoword.settings.fields import Section
from pseudoword.settings.latents import Latents
from pseudoword.settings.messages import BadSettings, explain, shown
from pseudoword.settings.preprocess import Preprocess
from pseudoword.settings.sweep import runs, sweep_problems
from pseudoword.settings.train import Train
from pseudoword.settings.word import Word

PARAMS = Path("params.yaml")


def _all_defaults() -> Any:
    return Field(default_factory=dict, validate_default=True)


class Settings(Section):
    data: Data
    base: Base
    word: Word
    preprocess: Preprocess = _all_defaults()
    caption: Caption = _all_defaults()
    curate: Curate = _all_defaults()
    doctor: Doctor = _all_defaults()
    latents: Latents = _all_defaults()
    train: Train = _all_defaults()
    sweep: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        default_factory=dict,
        description="Axes as section.key: [values] over word and train; their product trains together.",
    )
    evaluate: Evaluate = _all_defaults()
    export: Export = _all_defaults()


def load_settings(path: Path = PARAMS) -> Settings:
    """Read and check all of params.yaml, and read the files that it names.

    Raises BadSettings with one line per mistake: its key, what was found, what is wanted, the nearest valid key.
    """
    try:
        settings = Settings.model_validate(_content(path))
    except ValidationError as error:
        raise BadSettings(path, explain(error.errors(), Settings)) from None
    if problems := sweep_problems(settings) or _problems_of_runs(settings):
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
        found = "nothing" if content is None else shown(content)
        raise BadSettings(path, [f"found {found}, wanted sections such as 'train:'"])
    return content


def _problems_of_runs(settings: Settings) -> list[str]:
    """What does not fit together in a run of the sweep."""
    problems = [
        str(WarmUpTooLong(run.train.warm_up, run.train.steps))
        for run in runs(settings).values()
        if isinstance(run.train.steps, int) and run.train.warm_up >= run.train.steps
    ]
    if isinstance(settings.train.accumulation, int) and settings.train.batch == "auto":
        problems.append(str(AccumulationWithoutBatch(settings.train.accumulation)))
    return list(dict.fromkeys(problems))
