"""What is found wrong with pictures, captions or settings: one record and one scale of severity for lint and doctor."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field

from pseudoword.records import Record

Severity = Literal["error", "warning", "info"]
# The worst first. An error stops a later stage, a warning will be seen in what the word draws.
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
MAX_NAMES = 6  # files that a message names; the record holds all of them


class PictureRef(Record):
    """A picture that a finding is about: its id (empty for a file that gives none) and its file name in data.folder."""

    id: str
    source: str


class Finding(Record):
    """One thing that was found, in a sentence or two, and the way out in one."""

    check: str
    severity: Severity
    message: str
    advice: str
    pictures: list[PictureRef] = Field(default_factory=list)
    figure: dict[str, Any] = Field(default_factory=dict, description="The numbers behind the message, by name.")
    suggestion: str = Field(
        default="",
        description="A caption that would mend it; empty where only a person can write one.",
        exclude_if=lambda text: not text,
    )

    @property
    def id(self) -> str:
        """The id of the first picture; empty for a finding about the whole set."""
        return self.pictures[0].id if self.pictures else ""

    @property
    def source(self) -> str:
        """The file name of the first picture; empty for a finding about the whole set."""
        return self.pictures[0].source if self.pictures else ""


def names(sources: Sequence[str]) -> str:
    """'a.jpg, b.jpg and 3 more', each file once, in the order given."""
    shown = list(dict.fromkeys(sources))
    if len(shown) <= MAX_NAMES:
        return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
    return f"{', '.join(shown[:MAX_NAMES])} and {len(shown) - MAX_NAMES} more"
