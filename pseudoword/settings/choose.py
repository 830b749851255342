"""Section choose."""

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from pseudoword.settings.fields import Section

Weight = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Limit = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class ChooseSettings(Section):
    likeness: Weight = Field(2.0, description="Weight of likeness to the pictures, relative to the other two.")
    identity: Weight = Field(1.0, description="Weight of being told from what the init text draws.")
    obedience: Weight = Field(2.0, description="Weight of obedience to the prompt.")
    max_broken: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        0.25, description="Share of pictures of one colour above which a checkpoint is ruled out."
    )
    max_overbaking: Limit = Field(
        0.5,
        description="A checkpoint is ruled out whose saturation, contrast, grain or busyness exceeds that of the "
        "pictures and of what the init text draws by more powers of two.",
    )
    max_copies: Annotated[float, Field(strict=True, ge=0, le=1)] = Field(
        0.25, description="Share of pictures that repeat a training picture above which a checkpoint is ruled out."
    )

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        weights: dict[str, Any] = vars(self)
        if {"likeness", "identity", "obedience"} <= weights.keys() and not (
            self.likeness + self.identity + self.obedience
        ):
            raise ValueError("likeness, identity or obedience with a weight above 0")
        return self
