"""params.yaml as frozen pydantic models: one class per section, unknown keys refused with the nearest valid one.

settings = load_settings()
settings.train.steps        # "auto" or an int
"""

import difflib
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic_core import ErrorDetails

from pseudoword.errors import UserError
from pseudoword.schedule import parse_schedule

PARAMS = Path("params.yaml")

Auto = Literal["auto"]
# Strict: without it `true` would be taken for 1.
PositiveInt = Annotated[int, Field(strict=True, ge=1)]


def _checked_schedule(text: str) -> str:
    parse_schedule(text, steps=1)
    return text


# `learn_rate: 0.005` in YAML is a number and `0.005:100, 0.001` is text; both are a schedule.
ScheduleText = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if type(value) in (int, float) else value),
    AfterValidator(_checked_schedule),
    WithJsonSchema({"type": ["number", "string"]}),
]


class BadSettings(UserError):
    """One line for each wrong key or value."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__(f"{path} is not valid:\n" + "\n".join(f"  {problem}" for problem in problems))


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Data(Section):
    folder: Path = Field(description="Folder of pictures to learn from; captions may lie beside them as <picture>.txt.")


class Base(Section):
    model: str = Field(min_length=1, description="Folder in diffusers layout, or a hub id.")
    revision: str | None = Field(None, description="Branch, tag or commit of a hub id; null for its default.")
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto takes a GPU when there is one."
    )
    precision: Literal["auto", "bf16", "fp16", "fp32"] = Field(
        "auto", description="Of the frozen model; the word is always fp32. auto: bf16 or fp16 on a GPU, fp32 on a CPU."
    )


def _lower_case(name: str) -> str:
    # diffusers lowers a prompt's text before it looks for the names of a word's second and later vectors.
    if name != name.lower():
        raise ValueError(f"lower case, because diffusers finds no other names; for example '{name.lower()}'")
    return name


class Word(Section):
    name: Annotated[str, AfterValidator(_lower_case)] = Field(
        pattern=r"^[\w][\w.-]{0,63}$",
        description="What you will write in a prompt. Lower-case letters, digits, '_', '-' and '.'; not a word that "
        "the model knows.",
    )
    vectors: Auto | Annotated[int, Field(strict=True, ge=1, le=75)] = Field(
        "auto",
        description="Vectors per token. More fit harder and overfit sooner; auto goes by the number of pictures.",
    )
    init_text: str = Field(
        "*", description="Words to start from, best the plain name of the thing. Empty starts from zeros."
    )


class Preprocess(Section):
    resolution: Auto | Annotated[int, Field(strict=True, ge=32, le=4096, multiple_of=8)] = Field(
        "auto",
        description="Side in px of the square pictures, a multiple of 8. auto: what the base model was trained on.",
    )


class Caption(Section):
    model: str = Field(
        "auto", description="BLIP folder or hub id. auto: the base model's own captioner, else BLIP base."
    )
    prefix: str = Field("", description="Text that each draft is made to start with.")
    beams: PositiveInt = Field(3, description="Beams of the search; more are slower and read better.")
    max_tokens: PositiveInt = Field(40, description="Longest draft in tokens.")


class Curate(Section):
    subject: Literal["drop", "keep"] = Field(
        "drop",
        description="drop: cut the leading noun phrase from a draft ('a red dog in the snow' -> 'in the snow'), so "
        "that the caption tells what is incidental and the word learns the rest. A person's own text is never cut.",
    )


class Train(Section):
    template: Path = Field(description="One prompt a line, with [name] and optionally [filewords].")
    steps: Auto | PositiveInt = Field("auto", description="Updates of the word. auto: 300 passes over the pictures.")
    batch: Auto | PositiveInt = Field("auto", description="Pictures at once; bounded by memory.")
    accumulation: Auto | PositiveInt = Field(
        "auto", description="Batches per update. auto: enough to see each picture once."
    )
    learn_rate: ScheduleText = Field(
        "0.005", description="One rate, or a schedule 'RATE:END, RATE:END, RATE'; END is the last update at that rate."
    )
    norm: Literal["rescale", "free"] = Field(
        "rescale",
        description="rescale: hold each vector at the vocabulary's mean norm. free: as the optimiser leaves it.",
    )
    latents: Literal["random", "deterministic"] = Field(
        "random", description="Draw from the VAE posterior at each use, or always take its mean."
    )
    save_every: Auto | PositiveInt = Field("auto", description="Updates between checkpoints. auto: 15 of them in all.")
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = Field(0, description="Key of every random draw.")


class Evaluate(Section):
    judge: str = Field(
        "auto", description="CLIP folder or hub id that compares. auto: the base model's own, else ViT-B/32."
    )
    prompts: Path = Field(
        description="One prompt a line, each with [name]; every checkpoint is drawn with all of them."
    )
    seeds: PositiveInt = Field(2, description="Pictures for each prompt, each from its own noise.")
    timesteps: Annotated[int, Field(strict=True, ge=1, le=64)] = Field(
        8, description="Noise levels of the deterministic loss."
    )
    shortlist: Annotated[int, Field(strict=True, ge=2)] = Field(
        8, description="Checkpoints of each run that are drawn."
    )
    inference_steps: Annotated[int, Field(strict=True, ge=1, le=1000)] = Field(
        20, description="Sampling steps (DPM++ 2M)."
    )
    guidance: Annotated[float, Field(strict=True, ge=1, allow_inf_nan=False)] = Field(
        3.0, description="Classifier-free guidance."
    )
    likeness: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        0.5, description="Weight of likeness to the pictures against obedience to the prompt."
    )


SweepAxes = dict[str, Annotated[list[Any], Field(min_length=1)]]


class Settings(Section):
    data: Data
    base: Base
    word: Word
    preprocess: Preprocess
    caption: Caption
    curate: Curate
    train: Train
    sweep: SweepAxes = Field(
        default_factory=dict,
        description="Axes as section.key: [values] over word and train; their product trains together.",
    )
    evaluate: Evaluate


def load_settings(path: Path = PARAMS) -> Settings:
    """Read and check all of params.yaml.

    Raises BadSettings with one line per mistake: its key, what was found, what is wanted, the nearest valid key.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadSettings(path, [f"there is no such file in {Path.cwd()}; run from the project's folder"]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadSettings(path, [f"not YAML: {error}"]) from None
    if not isinstance(content, dict):
        raise BadSettings(path, [f"found {type(content).__name__}, wanted sections such as 'train:'"])
    try:
        settings = Settings.model_validate(content)
    except ValidationError as error:
        raise BadSettings(path, _explain(error.errors())) from None
    if problems := _sweep_problems(settings):
        raise BadSettings(path, problems)
    return settings


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


SWEPT = ("word.vectors", "word.init_text", "train.learn_rate", "train.norm", "train.latents", "train.seed")


def _sweep_problems(settings: Settings) -> list[str]:
    problems = []
    for axis, values in settings.sweep.items():
        if axis not in SWEPT:
            problems.append(f"sweep: '{axis}' cannot be swept{_nearest(axis, SWEPT)}; can be: {', '.join(SWEPT)}")
            continue
        for value in values:
            try:
                _with(settings, {axis: value})
            except ValidationError as error:
                problems += [f"sweep: {line}" for line in _explain(error.errors())]
    return problems


def _explain(errors: list[ErrorDetails]) -> list[str]:
    """One line for each wrong key; a union such as `auto | int` has an error for each member, joined by 'or'."""
    lines: dict[str, str] = {}
    for error in errors:
        path, found, wanted = _problem(error)
        lines[path] = f"{lines[path]} or {wanted}" if path in lines else f"{path}: {found}{wanted}"
    return list(lines.values())


def _problem(error: ErrorDetails) -> tuple[str, str, str]:
    """The key, what was found and what is wanted."""
    keys = [str(part) for part in error["loc"]]
    if error["type"] == "extra_forbidden":
        known = _keys_of(keys[:-1])
        return ".".join(keys), f"unknown key{_nearest(keys[-1], known)}; ", f"valid here: {', '.join(known)}"
    # Union members ("constrained-int", "literal['auto']") are part of pydantic's location but no key of the file.
    path = ".".join(keys[:2])
    if error["type"] == "missing":
        return path, "", "missing"
    found = f"found {error['input']!r}, wanted "
    if error["type"] == "model_type":
        return path, found, f"the keys {', '.join(_keys_of(keys))}"
    wanted = error["msg"][0].lower() + error["msg"][1:]
    return (
        path,
        found,
        wanted.removeprefix("value error, ")
        .removeprefix("input should be ")
        .replace("string should match", "text that matches"),
    )


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
