"""Section doctor."""

from typing import Annotated, Literal

from pydantic import Field

from pseudoword.settings.fields import Section

CheckName = Literal[
    "skipped", "animated", "number", "captions", "alike", "small", "blurred", "dark", "crop", "background", "look",
    "words", "outlier", "borders", "lettering", "black-and-white", "faces", "mirrored", "resolution", "name",
    "refused", "judges", "budget",
]  # fmt: skip


class DoctorSettings(Section):
    fail_on: Literal["none", "error", "warning"] = Field(
        "error", description="A finding this bad or worse stops the pipeline before a GPU is used."
    )
    ignore: list[CheckName] = Field([], description="Checks to leave out, for findings that you have looked at.")
    same_background: Annotated[float, Field(strict=True, gt=0, le=1)] = Field(
        0.6,
        description="Share of pictures before one background, or of captions with one word, that is warned of.",
    )
