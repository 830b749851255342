"""Section caption."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from pseudoword.settings.fields import PositiveInt, Section

Drafter = Literal["captioner", "tagger", "filename"]
Category = Literal["general", "character", "copyright", "artist", "meta", "rating"]
Score = Annotated[float, Field(strict=True, ge=0, le=1)]


def _checked_pattern(text: str) -> str:
    try:
        groups = re.compile(text).groups
    except re.error as error:
        raise ValueError(f"a regular expression ({error})") from None
    if groups > 1:
        raise ValueError(f"a regular expression with at most one group in round brackets, not {groups}")
    return text


Pattern = Annotated[str, AfterValidator(_checked_pattern)]


class TaggerSettings(Section):
    model: str | None = Field(
        default=None,
        min_length=1,
        description="ONNX file, folder or hub id with model.onnx and beside it selected_tags.csv or tags.txt.",
    )
    revision: str | None = Field(default=None, description="Branch, tag or commit of a hub id; null for its default.")
    threshold: Score = Field(default=0.35, description="Least score of a tag that is written.")
    character_threshold: Score = Field(
        default=0.85, description="The same for names of characters, which are guessed wildly."
    )
    skip: list[Category] = Field(default=["rating"], description="Categories of tags that are never written.")
    leave_out: list[str] = Field(
        default=[], description="Tags that are never written, such as those of what is to be learned."
    )
    sort: Literal["score", "alphabet"] = Field(default="score", description="Order of the tags.")
    spaces: bool = Field(default=True, strict=True, description="red_hair becomes red hair; faces such as ^_^ stay.")
    escape: bool = Field(
        default=False, strict=True, description=r"Write \( \) \\, for tools that take (tag) for an emphasis."
    )
    ranks: bool = Field(default=False, strict=True, description="Write each tag with its score: (tag:0.987).")


class FileNameSettings(Section):
    strip: Pattern = Field(default=r"^[-\d]+\s*", description="What is cut from the file's name without its ending.")
    words: Pattern = Field(default="", description="Keep only what matches, e.g. [a-z]+; empty keeps all.")
    join: str = Field(default=" ", description="Stands between the kept matches.")


class CaptionSettings(Section):
    drafters: list[Drafter] = Field(
        ["captioner"], description="Who drafts, in this order, joined by a comma; [] leaves the drafts empty."
    )
    model: str = Field(
        "auto",
        min_length=1,
        description="Image-to-text folder or hub id, BLIP for example. auto: the base model's own captioner, else BLIP "
        "base. none: no captioner.",
    )
    revision: str | None = Field(None, description="Branch, tag or commit of a hub id; null for its default.")
    prefix: str = Field("", description="Text that each draft of the captioner is made to start with.")
    beams: PositiveInt = Field(3, description="Beams of the search; more are slower and read better.")
    min_tokens: Annotated[int, Field(strict=True, ge=0)] = Field(0, description="Shortest draft in tokens.")
    max_tokens: PositiveInt = Field(40, description="Longest draft in tokens.")
    batch: PositiveInt = Field(8, description="Pictures that the captioner reads at once; drafts do not depend on it.")
    tagger: TaggerSettings = Field(TaggerSettings(), description="What the drafter tagger does.")
    filename: FileNameSettings = Field(FileNameSettings(), description="What the drafter filename does.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if len(set(self.drafters)) < len(self.drafters):
            raise ValueError("each of caption.drafters once")
        if "tagger" in self.drafters and self.tagger.model is None:
            raise ValueError("a caption.tagger.model, as caption.drafters names the tagger")
        if self.min_tokens > self.max_tokens:
            raise ValueError(f"a min_tokens of at most max_tokens ({self.max_tokens}), not {self.min_tokens}")
        return self
