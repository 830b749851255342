"""Section caption."""

from pydantic import Field

from pseudoword.settings.fields import PositiveInt, Section


class Caption(Section):
    model: str = Field(
        "auto", description="BLIP folder or hub id. auto: the base model's own captioner, else BLIP base."
    )
    prefix: str = Field("", description="Text that each draft is made to start with.")
    beams: PositiveInt = Field(3, description="Beams of the search; more are slower and read better.")
    max_tokens: PositiveInt = Field(40, description="Longest draft in tokens.")
