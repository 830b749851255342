"""Section curate."""

from typing import Annotated, Literal

from pydantic import Field

from pseudoword.settings.fields import Section

Switch = Annotated[bool, Field(strict=True)]


class Curate(Section):
    subject: Literal["drop", "keep"] = Field(
        "drop",
        description="drop: cut the leading noun phrase from a captioner's sentence ('a red dog in the snow' -> 'in the "
        "snow'), so that the caption tells what is incidental and the word learns the rest. Tags, file names and a "
        "person's own text are never cut.",
    )
    existing: Literal["ignore", "copy", "prepend", "append"] = Field(
        "copy",
        description="What becomes of a <picture>.txt: ignore it, copy it in place of the draft, prepend it to the "
        "draft or append it, with a space between. An edit in captions.yaml wins in any case.",
    )
    similarity: Switch = Field(
        True, description="Let the judge of texts look for captions that differ from their picture."
    )
    require_review: Switch = Field(
        False, description="true: stop until a person has approved every draft, for example with `make review`."
    )
