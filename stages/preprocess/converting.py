"""One file of the folder -> its PNGs, its rows of the table, and what the contact sheet shows of it."""

from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from PIL import Image

from pseudoword.files import save_with
from pseudoword.pictures import PICTURES, mask_name
from pseudoword.settings.preprocess import Preprocess
from stages.preprocess.faces import FaceFinder
from stages.preprocess.folder import NotUsable, Source
from stages.preprocess.masks import weight_of
from stages.preprocess.opening import is_large, open_upright
from stages.preprocess.shapes import Px, whole
from stages.preprocess.sheet import Cell, draw_skipped, draw_source
from stages.preprocess.views import COPIES, View, plan_views, show

NOTHING_COUNTS = "nothing counts in the part that it would show: its mask is black there, or it is transparent"


class Row(NamedTuple):
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


class Outcome(NamedTuple):
    """What became of a file. `cell` where the sheet has room for it, `shapes` of its pictures, `face` if mirrored."""

    rows: list[Row]
    cell: Cell | None
    shapes: list[Px]
    face: bool

    @property
    def reason(self) -> str:
        """Why all of it was skipped, or nothing."""
        return "" if any(row.state == "used" for row in self.rows) else self.rows[0].reason


def skipped(source: Source, reason: str, cell: bool) -> Outcome:
    row = Row("", source.name, "skipped", reason, None, None, "", "", "")
    return Outcome([row], draw_skipped(source.name, reason) if cell else None, [], False)


@dataclass(frozen=True)
class Converter:
    """Turns files into pictures; may be called from several threads. side and multiple in px, see plan_views."""

    folder: Path
    wanted: Preprocess
    side: int
    multiple: int
    find_faces: FaceFinder
    large: Lock = field(default_factory=Lock)

    def __call__(self, source: Source, name: str, cell: bool) -> Outcome:
        """Write the pictures of one file under the id `name`, and draw its cell of the sheet if asked."""
        # One large picture at a time: on many cores they would fill the memory together.
        with self.large if is_large(source.path) else nullcontext():
            return self._convert(source, name, cell)

    def _convert(self, source: Source, name: str, cell: bool) -> Outcome:
        wanted = self.wanted
        try:
            image, alpha = open_upright(source.path)
            weight = weight_of(source, image, alpha, wanted.masks, self.folder, wanted.recursive)
            views = plan_views(image, wanted, self.side, self.multiple, self.find_faces)
        except NotUsable as error:
            return skipped(source, str(error), cell)
        rows = [row for view in views for row in self._write(source.name, name, image, weight, view)]
        drawn = draw_source(source.name, image, views, weight, wanted.focal.debug) if cell else None
        shapes = [view.px for view in views for _ in COPIES[wanted.mirror]]
        return Outcome(rows, drawn, shapes, wanted.mirror != "none" and self._shows_face(image, views))

    def _write(self, source: str, name: str, image: Image.Image, weight: Image.Image | None, view: View) -> list[Row]:
        if weight is not None and show(weight, view, "").getextrema()[1] == 0:
            return [Row("", source, "skipped", NOTHING_COUNTS, *image.size, "", "", "")]
        crop = ",".join(str(edge) for edge in whole(view.box, image.size))
        rows = []
        for mirrored in COPIES[self.wanted.mirror]:
            own = "-".join(part for part in (name, view.tile, mirrored) if part)
            _save(show(image, view, mirrored), f"{own}.png")
            if weight is not None:
                _save(show(weight, view, mirrored), mask_name(own))
            rows.append(Row(own, source, "used", "", *image.size, crop, mirrored, "" if weight is None else "yes"))
        return rows

    def _shows_face(self, image: Image.Image, views: list[View]) -> bool:
        return any(view.focus.faces for view in views) or bool(self.find_faces(image))


def _save(image: Image.Image, name: str) -> None:
    save_with(PICTURES / name, lambda part: image.save(part, "PNG"))
