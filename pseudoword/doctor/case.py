"""All that a check may look at."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from pseudoword.doctor.copies import Copies, find_copies
from pseudoword.doctor.intent import Intent
from pseudoword.doctor.machine import Machine
from pseudoword.doctor.model import Model
from pseudoword.doctor.pictures import MeasuredPicture
from pseudoword.findings import PictureRef
from pseudoword.pictures.shapes import Px


class CannotTell(Exception):
    """Why a check cannot be made of what is there, as a clause; no measurement is not a good one."""


@dataclass(frozen=True, eq=False)
class Case:
    """`captions` by picture id, None where there are none of these pictures; `model`: or why it cannot be read.

    Captions that `curate` has not written yet may be of some pictures alone.
    """

    pictures: list[MeasuredPicture]
    skipped: list[tuple[str, str]]  # source and reason of each file that gives no picture
    captions: dict[str, str] | None
    intent: Intent
    model: Model | str
    machine: Machine
    max_share: float  # share of the pictures from which something counts as over-represented
    origins: Mapping[str, str] = field(default_factory=dict)  # where each caption comes from, by picture id
    ignored: Collection[str] = ()  # checks that a person disagrees with
    curated: bool = True  # whether the captions are what `curate` wrote

    @cached_property
    def originals(self) -> list[MeasuredPicture]:
        """One picture for each source: without mirrored copies, and of the tiles of one only the first."""
        first: dict[str, MeasuredPicture] = {}
        for picture in self.pictures:
            if not picture.mirrored:
                first.setdefault(picture.source, picture)
        return list(first.values())

    @cached_property
    def copies(self) -> list[Copies]:
        """The groups of originals that are one photograph."""
        return find_copies(self.originals)

    @cached_property
    def distinct(self) -> list[MeasuredPicture]:
        """The originals with one picture of each photograph, as a copy tells no check anything new."""
        if "alike" in self.ignored:
            return self.originals
        again = {picture.id for group in self.copies for picture in group.pictures[1:]}
        return [picture for picture in self.originals if picture.id not in again]


def shown(pictures: Iterable[MeasuredPicture]) -> list[PictureRef]:
    return [picture.shown for picture in pictures]


def sources(pictures: Iterable[MeasuredPicture]) -> list[str]:
    return [picture.source for picture in pictures]


def percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


def shape(px: Px) -> str:
    """'512' for a square, else '512 x 768'."""
    return str(px[0]) if px[0] == px[1] else f"{px[0]} x {px[1]}"
