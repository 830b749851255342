"""Which views a picture gives: one or, split, several; what each shows, and in how many px."""

from typing import NamedTuple

from PIL import Image

from pseudoword.settings.preprocess import Preprocess
from stages.preprocess.faces import FaceFinder
from stages.preprocess.focus import MIDDLE, Focus, find_focus
from stages.preprocess.folder import NotUsable
from stages.preprocess.shapes import (
    Box,
    Px,
    autosized,
    buckets,
    cover_box,
    cut_down,
    nearest_bucket,
    tile_box,
    tile_offsets,
    whole,
)

MOST_TILES = 100

FLIPS = {
    "h": Image.Transpose.FLIP_LEFT_RIGHT,
    "v": Image.Transpose.FLIP_TOP_BOTTOM,
    "hv": Image.Transpose.ROTATE_180,
}
COPIES = {"none": ("",), "horizontal": ("", "h"), "vertical": ("", "v"), "both": ("", "h", "v", "hv")}


class View(NamedTuple):
    """`box` of the upright source as a picture of `px`; `tile` is '' or 't0', 't1', ..."""

    tile: str
    box: Box
    px: Px
    focus: Focus


def plan_views(image: Image.Image, wanted: Preprocess, side: int, multiple: int, find_faces: FaceFinder) -> list[View]:
    """At least one. side: the resolution; other shapes have sides of multiples of `multiple`. Raises NotUsable."""
    square = (side, side)
    offsets = tile_offsets(image.size, square, wanted.split.threshold, wanted.split.overlap)
    if len(offsets) > MOST_TILES:
        raise NotUsable(f"{image.width}x{image.height} px would be split into {len(offsets)} tiles; crop it")
    if offsets:
        return [View(f"t{at}", tile_box(image.size, square, start), square, MIDDLE) for at, start in enumerate(offsets)]
    px = _target(image.size, wanted, side, multiple)
    focus = find_focus(image, px, wanted.focal, find_faces) if wanted.crop == "focal" else MIDDLE
    if wanted.shape == "keep":
        left, top, *_ = whole(_kept(image.size, px, focus.centre), image.size)
        return [View("", (left, top, left + px[0], top + px[1]), px, focus)]
    return [View("", cover_box(image.size, px, focus.centre), px, focus)]


def _target(source: Px, wanted: Preprocess, side: int, multiple: int) -> Px:
    if wanted.shape == "buckets":
        return nearest_bucket(source, buckets(side, multiple))
    if wanted.shape == "keep":
        if px := cut_down(source, multiple):
            return px
        raise NotUsable(f"{source[0]}x{source[1]} px; preprocess.shape 'keep' needs {multiple} px on each side")
    if wanted.shape == "autosize":
        if px := autosized(source, wanted.autosize):
            return px
        raise NotUsable(
            f"{source[0]}x{source[1]} px: no shape of preprocess.autosize is near its aspect ratio; crop it, or raise "
            "preprocess.autosize.max_error"
        )
    return side, side


def _kept(source: Px, px: Px, centre: tuple[float, float]) -> Box:
    """As many px of the source, as near to `centre` as they can lie."""
    left, top = (min(max(c * s - p / 2, 0), s - p) for s, p, c in zip(source, px, centre, strict=True))
    return left, top, left + px[0], top + px[1]


def show(image: Image.Image, view: View, mirrored: str) -> Image.Image:
    """The view of an RGB picture, or of its mask (L), by the same geometry."""
    left, top, right, bottom = box = whole(view.box, image.size)
    if box == view.box and view.px == (right - left, bottom - top):
        shown = image.crop(box)
    else:
        # A mask's edges must not overshoot, so its filter has no negative parts.
        kind = Image.Resampling.BILINEAR if image.mode == "L" else Image.Resampling.LANCZOS
        shown = image.resize(view.px, kind, box=view.box)
    return shown.transpose(FLIPS[mirrored]) if mirrored else shown
