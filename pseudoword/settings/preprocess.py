"""Section preprocess."""

from typing import Annotated

from pydantic import Field

from pseudoword.settings.fields import Auto, Section


class Preprocess(Section):
    resolution: Auto | Annotated[int, Field(strict=True, ge=32, le=4096, multiple_of=8)] = Field(
        "auto",
        description="Side in px of the square pictures, a multiple of 8. auto: what the base model was trained on.",
    )
