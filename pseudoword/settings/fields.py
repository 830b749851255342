"""The types that several sections are made of."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from pseudoword.schedule import parse_schedule

Auto = Literal["auto"]
# Strict: without it `true` would be taken for 1.
PositiveInt = Annotated[int, Field(strict=True, ge=1)]
# As many as A1111 takes. Near the 1000 of its training a model's own schedule runs out: DPM++ 2M and DDIM break.
InferenceSteps = Annotated[int, Field(strict=True, ge=1, le=150)]


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


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())
