"""Section hypernetwork: what is learned with train.learn: hypernetwork."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, WithJsonSchema

from pseudoword.settings.fields import Auto, ScheduleText, Section
from pseudoword.settings.word import InitFileName
from pseudoword.structure import ACTIVATIONS, MAX_MULTIPLIER, Structure

NUMBERS = {"type": "array", "items": {"type": "number"}}
NotNegative = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]


def _numbers(value: object) -> tuple[float, ...] | None:
    if isinstance(value, list | tuple) and all(type(number) in (int, float) for number in value):
        return tuple(value)
    return None


def _layers(value: object) -> object:
    factors = _numbers(value)
    if factors is None or len(factors) < 2 or factors[0] != 1 or factors[-1] != 1:
        raise ValueError("factors of the width that begin and end with 1, such as [1, 2, 1]")
    if not all(0 < factor <= MAX_MULTIPLIER for factor in factors):
        raise ValueError(f"factors of the width above 0 and at most {MAX_MULTIPLIER}")
    return factors


def _dropout(value: object, info: ValidationInfo) -> object:
    shares, layers = _numbers(value), info.data.get("layers", ())
    fits = shares is not None and len(shares) in (0, len(layers)) and all(0 <= share < 1 for share in shares)
    if layers and not fits:
        raise ValueError(f"[] or {len(layers)} shares from 0 to below 1, as many as hypernetwork.layers has")
    return shares


def _widths(value: object) -> object:
    widths = _numbers(value)
    if not widths or not all(isinstance(width, int) and width > 0 for width in widths):
        raise ValueError("widths such as [768, 320, 640, 1280]")
    return widths


def _one_of(*known: str) -> AfterValidator:
    def check(value: str) -> str:
        if value not in known:
            raise ValueError(f"one of {', '.join(known)}")
        return value

    return AfterValidator(check)


class HypernetworkSettings(Section):
    layers: Annotated[tuple[float, ...], BeforeValidator(_layers), WithJsonSchema(NUMBERS)] = Field(
        (1.0, 2.0, 1.0), description="Width of the modules' layers as factors of the context's, from 1 to 1."
    )
    activation: Annotated[str, _one_of(*ACTIVATIONS), Field(json_schema_extra={"enum": [*ACTIVATIONS]})] = Field(
        "linear", description="Between two layers; linear for none."
    )
    learn_rate: ScheduleText = Field(
        default="1e-05",  # as YAML's 0.00001 is written out
        validate_default=True,
        description="In place of train.learn_rate: a rate, or a schedule as there.",
    )
    weight_decay: NotNegative = Field(0.01, description="In place of train.weight_decay: AdamW's decay towards zero.")
    dropout: Annotated[tuple[float, ...], BeforeValidator(_dropout), WithJsonSchema(NUMBERS)] = Field(
        (), description="Share of numbers set to 0 after each layer while it learns, one for each of layers. []: none."
    )
    initialisation: Literal["Normal", "XavierUniform", "XavierNormal", "KaimingUniform", "KaimingNormal"] = Field(
        "Normal", description="Of the first weights. Normal, 0.01 wide, starts nearest to the base model."
    )
    layer_norm: bool = Field(
        False,
        strict=True,
        description="Normalise after each layer. The start is then far from the base model, and with an activation "
        "ComfyUI draws other pictures than A1111.",
    )
    init_file: InitFileName | None = Field(
        None,
        description="A hypernetwork in data/embeddings to go on from, of the same layers, activation and layer norm.",
    )
    widths: Auto | Annotated[tuple[int, ...], BeforeValidator(_widths), WithJsonSchema(NUMBERS)] = Field(
        "auto", description="Of the contexts that are changed. auto: all that the base model has."
    )

    @property
    def structure(self) -> Structure:
        return Structure(self.layers, self.activation, self.layer_norm, self.dropout)
