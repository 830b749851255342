"""The pictures that the doctor looks at: what `preprocess` wrote, or what it would make of the person's folder."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pseudoword.doctor.measures import Box, bars, chroma, colours, frame, grey, salience_outside, sharpness
from pseudoword.findings import PictureRef
from pseudoword.pictures.faces import FaceFinder
from pseudoword.pictures.folder import NothingUsable, NotUsable
from pseudoword.pictures.ids import PictureId
from pseudoword.pictures.opening import open_upright
from pseudoword.pictures.prepared import open_masks, open_pictures, read_pictures_table, read_skipped
from pseudoword.pictures.reading import Opened, PictureRow, read_folder
from pseudoword.pictures.shapes import Px
from pseudoword.pictures.views import Framing
from pseudoword.progress import Bar

T = TypeVar("T")

MEASURED_PX = 512  # px: more tells nothing that training would see
MIN_ITEMS_FOR_BAR = 200  # things to do
MIN_WHOLE_SHARE = 0.98  # of the area: a crop that keeps as much loses nothing


@dataclass(frozen=True, eq=False)
class MeasuredPicture:
    """One picture as training sees it, measured; about 90 KiB."""

    id: str
    source: str
    mirrored: str
    tile: bool
    width: int  # px, of the upright source
    height: int
    crop: Box  # px of the upright source
    px: Px  # width and height that training sees
    sharpness: float | None  # None where nothing has an edge to tell it from
    bars: tuple[float, float, float, float]
    lost: float  # share of what catches the eye that the crop cuts off
    chroma: float
    light: float  # mean, 0 to 255
    cast: tuple[float, float]  # mean red-green and yellow-blue, -1 to 1
    grey: NDArray[np.uint8]  # (256, 256)
    colours: NDArray[np.float32]  # of the whole picture
    background: NDArray[np.float32]  # colours of its frame
    weighted: bool = False  # whether some of it counts less; then chroma, light and cast are of what counts
    faces: tuple[float, ...] = ()  # their heights as shares of the picture's, the largest first; none where not asked

    @property
    def shown(self) -> PictureRef:
        return PictureRef(id=self.id, source=self.source)

    @property
    def lost_area(self) -> float:
        return 1 - _share(self.crop, self.width, self.height)

    @property
    def enlarged(self) -> float:
        """How many times larger training sees it than the file has it."""
        left, top, right, bottom = self.crop
        return max(self.px[0] / (right - left), self.px[1] / (bottom - top))


class Examined(NamedTuple):
    """All pictures, sorted by source, and (source, reason) of each file that gives none."""

    pictures: list[MeasuredPicture]
    skipped: list[tuple[str, str]]


def preprocessed(folder: Path, find_faces: FaceFinder | None = None) -> Examined:
    """What `preprocess` wrote; crop boxes are read against the sources in `folder`."""
    table = read_pictures_table().sort_values(["source", "id"])
    rows = [{str(key): str(value) for key, value in row.items()} for row in table.to_dict("records")]
    return Examined(
        [_read_row(row, folder, find_faces) for row in progress(rows, "measure", "picture")], read_skipped()
    )


def _read_row(row: dict[str, str], folder: Path, find_faces: FaceFinder | None) -> MeasuredPicture:
    (image,), (weight,) = open_pictures([row["id"]]), open_masks([row["id"]])
    size = int(row["width"]), int(row["height"])
    crop, tile = _box(row.get("crop", "")) or centre_box(*size), bool(PictureId.parse(row["id"]).tile)
    lost = 0.0
    if not tile and not row.get("mirrored") and _share(crop, *size) < MIN_WHOLE_SHARE:
        with suppress(NotUsable):  # gone since, or changed into something else: then nothing can be said
            lost = salience_outside(open_upright(folder / row["source"]).rgb, crop)
    mirrored = row.get("mirrored", "")
    return _measure(image, weight, row["id"], row["source"], mirrored, tile, size, crop, lost, find_faces)


def as_preprocess_would(folder: Path, framing: Framing, find_faces: FaceFinder | None = None) -> Examined:
    """What `preprocess` would make of the person's folder. Raises UserError."""
    _, outcomes = read_folder(folder, framing, lambda opened, _: _measure_all(opened, find_faces), "doctor")
    pictures = [picture for outcome in outcomes for picture in outcome.made or []]
    skipped = [(row.source, row.reason) for outcome in outcomes for row in outcome.rows if row.state == "skipped"]
    if not pictures:
        raise NothingUsable(folder, skipped)
    return Examined(pictures, skipped)


def _measure_all(opened: Opened, find_faces: FaceFinder | None) -> list[MeasuredPicture]:
    return [
        _measure_row(opened, row, bool(view.tile), shown, weight, find_faces)
        for row, view, shown, weight in opened.pictures()
    ]


def _measure_row(
    opened: Opened, row: PictureRow, tile: bool, shown: Image.Image, weight: Image.Image | None,
    find_faces: FaceFinder | None,
) -> MeasuredPicture:  # fmt: skip
    crop, size = _box(row.crop) or centre_box(*opened.image.size), opened.image.size
    compare = not tile and not row.mirrored and _share(crop, *size) < MIN_WHOLE_SHARE
    lost = salience_outside(opened.image, crop) if compare else 0.0
    return _measure(shown, weight, row.id, row.source, row.mirrored, tile, size, crop, lost, find_faces)


def centre_box(width: int, height: int) -> Box:
    """The largest square in the middle."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def _box(text: str) -> Box | None:
    parts = text.split(",")
    if len(parts) != 4:
        return None
    left, top, right, bottom = (round(float(part)) for part in parts)
    return left, top, right, bottom


def _share(box: Box, width: int, height: int) -> float:
    return (box[2] - box[0]) * (box[3] - box[1]) / (width * height)


def _measure(
    image: Image.Image, weight: Image.Image | None, name: str, source: str, mirrored: str, tile: bool, size: Px,
    crop: Box, lost: float, find_faces: FaceFinder | None,
) -> MeasuredPicture:  # fmt: skip
    if min(image.size) > MEASURED_PX:
        scale = MEASURED_PX / min(image.size)
        seen = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    else:
        seen = image
    light, small = grey(seen, 256), np.asarray(seen.resize((64, 64), Image.Resampling.BOX))
    counting = _counting(small, weight)
    return MeasuredPicture(
        id=name,
        source=source,
        mirrored=mirrored,
        tile=tile,
        width=size[0],
        height=size[1],
        crop=crop,
        px=image.size,
        sharpness=sharpness(seen),
        bars=bars(seen),
        lost=lost,
        chroma=chroma(counting),
        light=float(light.mean() if weight is None else np.asarray(Image.fromarray(counting).convert("L")).mean()),
        cast=_cast(counting),
        grey=light,
        colours=colours(small.reshape(-1, 3).astype(np.float32) / 255),
        background=colours(frame(small)),
        faces=_faces(image, find_faces) if find_faces else (),
        weighted=weight is not None,
    )


def _counting(pixels: NDArray[np.uint8], weight: Image.Image | None) -> NDArray[np.uint8]:
    """The pixels (H, W, 3) of which at least half counts, (1, N, 3); all as they are where there are none."""
    if weight is None:
        return pixels
    counts = np.asarray(weight.resize(pixels.shape[1::-1], Image.Resampling.BOX)) >= 128
    return pixels[counts][None] if counts.any() else pixels


def _faces(image: Image.Image, find_faces: FaceFinder) -> tuple[float, ...]:
    return tuple(sorted((height / image.height for *_, height in find_faces(image)), reverse=True))


def _cast(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    red, green, blue = (pixels.reshape(-1, 3).mean(0) / 255).tolist()
    return red - green, (red + green) / 2 - blue


def progress(work: list[T], name: str, unit: str) -> Bar[T]:
    """A bar for work that may be long."""
    return Bar("doctor", work, label=f"doctor: {name}", unit=unit, disable=len(work) < MIN_ITEMS_FOR_BAR)
