"""How far a stage is: a bar in its terminal, and `.scratch/progress/<stage>.json` for whoever watches from outside.

    for picture in Bar("caption", pictures, unit="picture"): ...
    read_progress(root, "caption")

The file is a picture of the moment, written at most once a second; nothing depends on it.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from tqdm import tqdm

from pseudoword.files import write_text

PROGRESS = Path(".scratch/progress")
T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    label: str
    done: int
    total: int
    unit: str
    rate: float | None  # units a second, of late
    said: str  # beside the bar, such as the loss
    picture: str | None  # path of the latest, below the project's folder

    @property
    def seconds_left(self) -> float | None:
        return (self.total - self.done) / self.rate if self.rate else None


class Bar(tqdm, Generic[T]):  # type: ignore[type-arg]  # tqdm is generic in its stubs alone
    """A bar of `stage`. `picture` may be set to the latest picture that the stage has made."""

    def __init__(
        self,
        stage: str,
        work: Iterable[T] | None = None,
        *,
        label: str | None = None,
        total: int | None = None,
        initial: int = 0,
        unit: str = "picture",
        delay: float = 0,
        disable: bool = False,
    ) -> None:
        self.stage = stage
        self.picture: Path | None = None
        super().__init__(
            work, label or stage, total, initial=initial, unit=unit, delay=delay, disable=disable, mininterval=1
        )

    def __iter__(self) -> Iterator[T]:
        return super().__iter__()

    def display(self, msg: str | None = None, pos: int | None = None) -> Any:
        """Draw the bar, and write the file as often."""
        if self.total:
            now = self.format_dict
            progress = Progress(
                self.desc.removesuffix(": "), int(self.n), int(self.total), self.unit, now["rate"],
                now["postfix"] or "", self.picture.as_posix() if self.picture else None,
            )  # fmt: skip
            with contextlib.suppress(OSError):  # a full disk is told of by what is worth more
                write_text(PROGRESS / f"{self.stage}.json", json.dumps(asdict(progress)))
        return super().display(msg, pos)


def read_progress(root: Path, stage: str) -> Progress | None:
    """None as long as the stage has told nothing."""
    try:
        return Progress(**json.loads((root / PROGRESS / f"{stage}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def forget_progress(root: Path, stage: str) -> None:
    """Take away what an earlier run of the stage told."""
    with contextlib.suppress(OSError):
        (root / PROGRESS / f"{stage}.json").unlink()
