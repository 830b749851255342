"""All files of a person's folder as the pictures that training sees.

framing = framing_for(settings.preprocess, model)
outcomes = read_folder(Path("data/cat"), framing, use, "preprocess")     # what `use` made of each file, and its rows

Several files at a time; what comes out is in the order of their names and the same every time.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Generic, NamedTuple, TypeVar

from PIL import Image

from pseudoword.pictures.folder import NotUsable, SourceFile, check_file, content_id, list_folder
from pseudoword.pictures.ids import PictureId
from pseudoword.pictures.masks import weight_of
from pseudoword.pictures.opening import is_large, open_upright
from pseudoword.pictures.shapes import whole
from pseudoword.pictures.views import COPIES, Framing, View, show
from pseudoword.progress import Bar

T = TypeVar("T")

# Decoders, filters and encoders let go of the interpreter's lock, so threads do, and need no memory of their own.
WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
SAME_AS = "same as"  # begins the reason of a copy
NOTHING_COUNTS = "nothing counts in the part that it would show: its mask is black there, or it is transparent"


class PictureRow(NamedTuple):
    """One line of outputs/pictures.csv; see docs/files.md."""

    id: str
    source: str
    state: str
    reason: str
    width: int | None
    height: int | None
    crop: str
    mirrored: str
    weighted: str


class Opened(NamedTuple):
    """A file that can be used: upright RGB, its loss weight as L, and each row of the table with what it shows."""

    source: SourceFile
    image: Image.Image
    weight: Image.Image | None
    rows: list[tuple[PictureRow, View]]

    @property
    def views(self) -> list[View]:
        return list({view.tile: view for _, view in self.rows}.values())

    def pictures(self) -> Iterator[tuple[PictureRow, View, Image.Image, Image.Image | None]]:
        """Each picture that is used with its row, RGB, and its loss weight by place, L."""
        for row, view in self.rows:
            if row.state == "used":
                weight = None if self.weight is None else show(self.weight, view, row.mirrored)
                yield row, view, show(self.image, view, row.mirrored), weight


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What became of a file: its rows, and what `use` made of it, None where it could not be used."""

    rows: list[PictureRow]
    made: T | None = None

    @property
    def reason(self) -> str:
        """Why all of it was skipped, or nothing."""
        return "" if any(row.state == "used" for row in self.rows) else self.rows[0].reason


def skipped(source: str, reason: str) -> PictureRow:
    return PictureRow("", source, "skipped", reason, None, None, "", "", "")


def read_folder(
    folder: Path, framing: Framing, use: Callable[[Opened, int], T], stage: str
) -> tuple[list[SourceFile], list[Outcome[T]]]:
    """The files, and what became of each in their order, then of each mask without a picture.

    use    called once for each file that can be used, with its place; from several threads
    stage  whose bar shows how far it is
    Of files with the same bytes only the first becomes a picture. Raises NoFolder.
    """
    sources, orphans = list_folder(folder, framing.wanted.recursive)
    read, done = _Reader(folder, framing, use), dict[str, Outcome[T]]()
    outcomes = []
    # Pillow warns of odd metadata, and of pictures above half the size at which it refuses them: neither matters.
    with warnings.catch_warnings(action="ignore"), ThreadPoolExecutor(WORKERS) as pool:
        names = list(pool.map(read.identify, sources))
        first = {name: i for i, (name, _) in reversed(list(enumerate(names)))}

        def outcome(i: int) -> Outcome[T] | None:
            name, reason = names[i]
            if reason:
                return Outcome([skipped(sources[i].name, reason)])
            return read(sources[i], name, i) if first[name] == i else None

        results = pool.map(outcome, range(len(sources)))
        for i, result in enumerate(Bar(stage, results, total=len(sources), unit="file", delay=1)):
            name = names[i][0]
            if result is None:
                reason = done[name].reason or _same(sources[i], sources[first[name]])
                result = Outcome([skipped(sources[i].name, reason)])
            else:
                done[name] = result
            outcomes.append(result)
    alone = "a mask, but there is no picture of its name beside it"
    return sources, outcomes + [Outcome([skipped(mask.name, alone)]) for mask in orphans]


def _same(source: SourceFile, kept: SourceFile) -> str:
    if source.mask is None or source.mask == kept.mask:
        return f"{SAME_AS} {kept.name}"
    return f"{SAME_AS} {kept.name}, so its mask {source.mask.name} is not used"


@dataclass(frozen=True)
class _Reader(Generic[T]):
    folder: Path
    framing: Framing
    use: Callable[[Opened, int], T]
    large: Lock = field(default_factory=Lock)

    def identify(self, source: SourceFile) -> tuple[str, str]:
        """(id, ''), or ('', the reason why the file cannot be used)."""
        try:
            check_file(source.path, self.folder, self.framing.wanted.recursive)
            return content_id(source.path), ""
        except NotUsable as error:
            return "", str(error)

    def __call__(self, source: SourceFile, name: str, i: int) -> Outcome[T]:
        # One large picture at a time: on many cores they would fill the memory together.
        with self.large if is_large(source.path) else nullcontext():
            try:
                opened = self._open(source, name)
            except NotUsable as error:
                return Outcome([skipped(source.name, str(error))])
            return Outcome([row for row, _ in opened.rows], self.use(opened, i))

    def _open(self, source: SourceFile, name: str) -> Opened:
        wanted = self.framing.wanted
        image, alpha = open_upright(source.path)
        weight = weight_of(source, image, alpha, wanted.masks, self.folder, wanted.recursive)
        rows = [
            (row, view)
            for view in self.framing(image)
            for row in _rows(source.name, name, image, weight, view, COPIES[wanted.mirror])
        ]
        return Opened(source, image, weight, rows)


def _rows(
    source: str, content: str, image: Image.Image, weight: Image.Image | None, view: View, copies: tuple[str, ...]
) -> list[PictureRow]:
    if weight is not None and show(weight, view, "").getextrema()[1] == 0:
        reason = f"tile {view.tile}: {NOTHING_COUNTS}" if view.tile else NOTHING_COUNTS
        return [PictureRow("", source, "skipped", reason, *image.size, "", "", "")]
    crop = ",".join(str(edge) for edge in whole(view.box, image.size))
    weighted = "" if weight is None else "yes"
    return [
        PictureRow(str(PictureId(content, view.tile, copy)), source, "used", "", *image.size, crop, copy, weighted)
        for copy in copies
    ]
