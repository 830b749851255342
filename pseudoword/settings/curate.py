"""Section curate."""

from typing import Literal

from pydantic import Field

from pseudoword.settings.fields import Section


class Curate(Section):
    subject: Literal["drop", "keep"] = Field(
        "drop",
        description="drop: cut the leading noun phrase from a draft ('a red dog in the snow' -> 'in the snow'), so "
        "that the caption tells what is incidental and the word learns the rest. A person's own text is never cut.",
    )
