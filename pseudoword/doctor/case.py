"""All that a check may look at."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from pseudoword.doctor.intent import Intent
from pseudoword.doctor.machine import Machine
from pseudoword.doctor.model import Model
from pseudoword.doctor.pictures import MeasuredPicture
from pseudoword.findings import PictureRef
from pseudoword.pictures.shapes import Px


@dataclass(frozen=True, eq=False)
class Case:
    """`captions` by picture id, None where there are none of these pictures; `model`: or why it cannot be read."""

    pictures: list[MeasuredPicture]
    skipped: list[tuple[str, str]]  # source and reason of each file that gives no picture
    captions: dict[str, str] | None
    intent: Intent
    model: Model | str
    machine: Machine
    max_share: float  # share of the pictures from which something counts as over-represented

    @cached_property
    def originals(self) -> list[MeasuredPicture]:
        """One picture for each source: without mirrored copies, and of the tiles of one only the first."""
        first: dict[str, MeasuredPicture] = {}
        for picture in self.pictures:
            if not picture.mirrored:
                first.setdefault(picture.source, picture)
        return list(first.values())


def shown(pictures: Iterable[MeasuredPicture]) -> list[PictureRef]:
    return [picture.shown for picture in pictures]


def sources(pictures: Iterable[MeasuredPicture]) -> list[str]:
    return [picture.source for picture in pictures]


def percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


def shape(px: Px) -> str:
    """'512' for a square, else '512 x 768'."""
    return str(px[0]) if px[0] == px[1] else f"{px[0]} x {px[1]}"
