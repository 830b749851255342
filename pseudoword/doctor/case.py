"""All that a check may look at."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from pseudoword.doctor.finding import Shown
from pseudoword.doctor.intent import Intent
from pseudoword.doctor.machine import Machine
from pseudoword.doctor.model import Model
from pseudoword.doctor.pictures import Picture


@dataclass(frozen=True, eq=False)
class Case:
    """`captions` by picture id, None before `curate` ran; `model` is the base model or why it cannot be read."""

    pictures: list[Picture]
    captions: dict[str, str] | None
    intent: Intent
    model: Model | str
    machine: Machine
    most: float  # share of the pictures from which something counts as over-represented

    @cached_property
    def own(self) -> list[Picture]:
        """One picture for each source: without mirrored copies, and of the tiles of one only the first."""
        first: dict[str, Picture] = {}
        for picture in self.pictures:
            if not picture.mirrored:
                first.setdefault(picture.source, picture)
        return list(first.values())


def shown(pictures: Iterable[Picture]) -> list[Shown]:
    return [picture.shown for picture in pictures]


def sources(pictures: Iterable[Picture]) -> list[str]:
    return [picture.source for picture in pictures]


def percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")
