"""Which views a picture gives: one or, split, several; what each shows, and in how many px."""

from dataclasses import dataclass
from typing import NamedTuple

from PIL import Image

from pseudoword.base.identity import ModelIdentity
from pseudoword.errors import UserError
from pseudoword.pictures.faces import FaceFinder
from pseudoword.pictures.focus import MIDDLE, Focus, find_focus
from pseudoword.pictures.folder import NotUsable
from pseudoword.pictures.shapes import (
    STEP_PX,
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
from pseudoword.settings.preprocess import PreprocessSettings

MAX_TILES = 100

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


class WrongSteps(UserError):
    def __init__(self, multiple: int) -> None:
        super().__init__(
            f"preprocess.shape: autosize makes sides of multiples of {STEP_PX} px, and the UNet of base.model takes "
            f"multiples of {multiple}. Choose buckets, keep or square in params.yaml."
        )


@dataclass(frozen=True)
class Framing:
    """What each picture shows, by the settings. May be called from several threads.

    target    px of preprocess.resolution
    multiple  px, of which the sides of other shapes than `square` are multiples
    """

    wanted: PreprocessSettings
    target: Px
    multiple: int
    find_faces: FaceFinder

    def __call__(self, image: Image.Image) -> list[View]:
        """The views of an upright picture, at least one. Raises NotUsable."""
        wanted = self.wanted
        if tiles := self._tiles(image.size):
            return tiles
        px = self._px(image.size)
        focus = find_focus(image, px, wanted.focal, self.find_faces) if wanted.crop == "focal" else MIDDLE
        if wanted.shape == "keep":
            left, top, *_ = whole(_kept(image.size, px, focus.centre), image.size)
            return [View("", (left, top, left + px[0], top + px[1]), px, focus)]
        return [View("", cover_box(image.size, px, focus.centre), px, focus)]

    def _tiles(self, source: Px) -> list[View]:
        split = self.wanted.split
        if min(source) > split.threshold * max(source) and self.target[0] == self.target[1]:
            return []
        # What a picture of the resolution's own shape becomes, so that tiles have the px of other pictures.
        tile = self._px(self.target)
        offsets = tile_offsets(source, tile, split.threshold, split.overlap)
        if len(offsets) > MAX_TILES:
            raise NotUsable(f"{source[0]}x{source[1]} px would be split into {len(offsets)} tiles; crop it")
        boxes = [tile_box(source, tile, offset) for offset in offsets]
        return [View(f"t{i}", box, tile, MIDDLE) for i, box in enumerate(boxes)]

    def _px(self, source: Px) -> Px:
        """What a picture of `source` px becomes. Raises NotUsable."""
        wanted = self.wanted
        if wanted.shape == "buckets":
            return nearest_bucket(source, buckets(self.target[0], self.multiple))
        if wanted.shape == "keep":
            if px := cut_down(source, self.multiple):
                return px
            raise NotUsable(
                f"{source[0]}x{source[1]} px; preprocess.shape 'keep' needs {self.multiple} px on each side"
            )
        if wanted.shape == "autosize":
            if px := autosized(source, wanted.autosize):
                return px
            raise NotUsable(
                f"{source[0]}x{source[1]} px: no shape of preprocess.autosize is near its aspect ratio; crop it, or "
                "raise preprocess.autosize.max_error"
            )
        return self.target


def framing_for(wanted: PreprocessSettings, model: ModelIdentity) -> Framing:
    """With what the base model asks for. Raises UserError."""
    target = wanted.px or (model.resolution,) * 2
    # What is given in px is taken as it is; only for the other shapes does one have to know the model.
    multiple = 1 if wanted.shape == "square" else model.side_multiple
    if wanted.shape == "autosize" and STEP_PX % multiple:
        raise WrongSteps(multiple)
    return Framing(wanted, target, multiple, FaceFinder(wanted.focal.face_model))


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
