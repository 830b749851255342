"""Section curate."""

from typing import Annotated, Literal

from pydantic import Field

from pseudoword.settings.fields import Section

Switch = Annotated[bool, Field(strict=True)]


class CurateSettings(Section):
    cut: Literal["auto", "subject", "manner", "traits", "none"] = Field(
        "auto",
        description="What a draft loses, so that the word has it to learn. subject: the noun phrase that a captioner's "
        "sentence begins with ('a red dog in the snow' -> 'in the snow'). manner: what names medium, style and artist "
        "('an oil painting of a dog' -> 'a dog'). traits: age, origin and looks; each begins alike ('a young woman in "
        "the snow' -> 'a woman, in the snow'). auto: by word.kind. File names and a person's own text are never cut.",
    )
    existing: Literal["ignore", "copy", "prepend", "append"] = Field(
        "copy",
        description="What becomes of a <picture>.txt: ignore it, copy it in place of the draft, prepend it to the "
        "draft or append it, with a space between. An edit in captions.yaml wins in any case.",
    )
    unescape: Switch = Field(
        False,
        description="true: captions lose the marks of other tools' prompts, which are read as text here: "
        "'(red hair:1.2), bow \\(weapon\\) BREAK' -> 'red hair, bow (weapon)'.",
    )
    similarity: Switch = Field(
        True, description="Let the judge of texts look for captions that differ from their picture."
    )
    require_review: Switch = Field(
        False, description="true: stop until a person has approved every draft, for example with `make review`."
    )
