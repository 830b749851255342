"""The types that several sections are made of."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
)

from pseudoword.schedule import Schedule
from pseudoword.templates import BadTemplate, Prompts

Auto = Literal["auto"]
# Of a key that word.kind sets before any code reads it.
BY_KIND: Any = "auto"
# Strict: without it `true` would be taken for 1.
PositiveInt = Annotated[int, Field(strict=True, ge=1)]
# As many as A1111 takes. Near the 1000 of its training a model's own schedule runs out: DPM++ 2M and DDIM break.
InferenceSteps = Annotated[int, Field(strict=True, ge=1, le=150)]


def _schedule(value: object) -> object:
    if type(value) in (int, float, str):  # `0.005` in YAML is a number and `0.005:100, 0.001` is text
        return Schedule.parse(str(value))
    if isinstance(value, Schedule):
        return value
    raise ValueError("a number, or a schedule such as '0.05:10, 0.02:20, 0.005'")


ScheduleText = Annotated[
    InstanceOf[Schedule],
    BeforeValidator(_schedule),
    PlainSerializer(str),
    WithJsonSchema({"type": ["number", "string"]}),
]


def content_of(path: Path, info: ValidationInfo) -> Any:
    """What the file at `path` came to when it was read before; None where it is to be read now."""
    return (info.context or {}).get("files", {}).get(path.as_posix())


def _prompts(value: object, info: ValidationInfo) -> object:
    if isinstance(value, Prompts):
        return value
    if not isinstance(value, str | Path):
        raise ValueError("the path of a file with one prompt a line")
    path = Path(value)
    if (lines := content_of(path, info)) is not None:
        return Prompts(path, tuple(lines))
    try:
        prompts = Prompts.read(path)
        # Beside a hypernetwork the name is text like any other, and a prompt without it teaches as much.
        return prompts if info.data.get("learn") == "hypernetwork" else prompts.check_names()
    except BadTemplate as error:
        raise ValueError(f"a file with one prompt a line: {error}") from None


def path_text(file: Any) -> str:
    return str(file.path.as_posix())


PromptFile = Annotated[
    InstanceOf[Prompts],
    BeforeValidator(_prompts),
    PlainSerializer(path_text),
    WithJsonSchema({"type": "string", "format": "path"}),
]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
