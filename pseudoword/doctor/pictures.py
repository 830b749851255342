"""The pictures that the doctor looks at: what `preprocess` wrote, or the person's own where it has not run yet."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tqdm import tqdm

from pseudoword.doctor.finding import Shown
from pseudoword.doctor.measures import Box, bars, chroma, colours, frame, grey, salience_outside, sharpness
from pseudoword.errors import UserError
from pseudoword.pictures import PICTURES, TABLE, open_pictures, read_pictures_table

T = TypeVar("T")

UNSAFE = {"EPS"}  # Pillow runs Ghostscript for it
MEASURED_SIDE = 512  # px: more tells nothing that training would see
WORTH_A_BAR = 200  # things to do
WHOLE = 0.98  # of the area: a crop that keeps as much loses nothing


class NothingToExamine(UserError):
    def __init__(self, folder: Path) -> None:
        super().__init__(
            f"data.folder: '{folder}' holds no picture that can be opened. Put pictures into it, or set data.folder in "
            "params.yaml to the folder that holds them."
        )


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture as training sees it, measured; about 90 KiB."""

    id: str  # empty before `preprocess` ran
    source: str
    mirrored: str
    tile: bool
    width: int  # px, of the upright source
    height: int
    crop: Box  # px of the upright source
    side: int  # px, the shorter side that training sees
    sharpness: float
    bars: tuple[float, float, float, float]
    lost: float  # share of what catches the eye that the crop cuts off
    chroma: float
    light: float  # mean, 0 to 255
    cast: tuple[float, float]  # mean red-green and yellow-blue, -1 to 1
    grey: NDArray[np.uint8]  # (256, 256)
    colours: NDArray[np.float32]  # of the whole picture
    background: NDArray[np.float32]  # colours of its frame

    @property
    def shown(self) -> Shown:
        return Shown(id=self.id, source=self.source)

    @property
    def lost_area(self) -> float:
        left, top, right, bottom = self.crop
        return 1 - (right - left) * (bottom - top) / (self.width * self.height)


def preprocessed(folder: Path) -> list[Picture]:
    """What `preprocess` wrote, sorted by source; crop boxes are read against the sources in `folder`."""
    table = read_pictures_table().sort_values(["source", "id"])
    rows = table.to_dict("records")
    return [
        _read_row({str(key): str(value) for key, value in row.items()}, folder)
        for row in progress(rows, "measure", "picture")
    ]


def has_preprocessed() -> bool:
    return TABLE.is_file() and PICTURES.is_dir()


def _read_row(row: dict[str, str], folder: Path) -> Picture:
    (image,) = open_pictures([row["id"]])
    width, height = int(row["width"]), int(row["height"])
    crop = _box(row.get("crop", "")) or centre_box(width, height)
    lost = 0.0
    if _share(crop, width, height) < WHOLE:
        source = _open_upright(folder / row["source"], 4 * MEASURED_SIDE)
        # Gone since, or changed into something else: then nothing can be said.
        lost = salience_outside(source[0], _scaled(crop, width, source[0].width)) if source else 0.0
    suffix = row["id"][12:]
    return _measure(
        image, row["id"], row["source"], row.get("mirrored", ""), suffix.startswith("-t"), width, height, crop, lost
    )


def raw(folder: Path, side: int) -> tuple[list[Picture], list[str]]:
    """The pictures of a person's folder as `preprocess` would centre them at `side` px, and the files that do not open.

    Raises NothingToExamine.
    """
    pictures, unread = [], []
    for path in progress(_candidates(folder), "measure", "file"):
        opened = _open_upright(path, 2 * side)
        if opened is None:
            unread.append(path.name)
            continue
        image, width, height = opened
        crop = centre_box(width, height)
        lost = salience_outside(image, _scaled(crop, width, image.width)) if _share(crop, width, height) < WHOLE else 0
        fitted = ImageOps.fit(image, (side, side), Image.Resampling.LANCZOS)
        pictures.append(_measure(fitted, "", path.name, "", False, width, height, crop, lost))
    if not pictures:
        raise NothingToExamine(folder)
    return pictures, unread


def _candidates(folder: Path) -> list[Path]:
    try:
        files = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError:
        raise NothingToExamine(folder) from None
    inside = folder.resolve()
    return [
        path
        for path in files
        if not path.name.startswith(".")
        and not path.name.lower().endswith((".txt", ".mask.png", ".yaml"))
        and path.is_file()
        and path.resolve().is_relative_to(inside)
    ]


def _open_upright(path: Path, enough: int) -> tuple[Image.Image, int, int] | None:
    """An RGB picture the right way up, and the source's width and height in px; None if it does not open.

    A JPEG that is far larger than `enough` px is decoded at a fraction of its size, which saves most of the time.
    """
    Image.init()
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            Image.open(path, formats=[name for name in Image.ID if name not in UNSAFE]) as image,
        ):
            width, height = image.size
            image.draft("RGB", (enough, enough))
            upright = ImageOps.exif_transpose(image).convert("RGB")
            if (upright.width > upright.height) != (width > height):
                width, height = height, width
            return upright, width, height
    except Exception:  # whatever a decoder raises on garbage; `preprocess` names it with its reason
        return None


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


def _scaled(box: Box, width: int, to_width: int) -> Box:
    left, top, right, bottom = (round(value * to_width / width) for value in box)
    return left, top, right, bottom


def _measure(
    image: Image.Image, name: str, source: str, mirrored: str, tile: bool, width: int, height: int, crop: Box,
    lost: float,
) -> Picture:  # fmt: skip
    if min(image.size) > MEASURED_SIDE:
        scale = MEASURED_SIDE / min(image.size)
        seen = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
    else:
        seen = image
    light, small = grey(seen, 256), np.asarray(seen.resize((64, 64), Image.Resampling.BOX))
    return Picture(
        id=name,
        source=source,
        mirrored=mirrored,
        tile=tile,
        width=width,
        height=height,
        crop=crop,
        side=min(image.size),
        sharpness=sharpness(seen),
        bars=bars(seen),
        lost=lost,
        chroma=chroma(small),
        light=float(light.mean()),
        cast=_cast(small),
        grey=light,
        colours=colours(small.reshape(-1, 3).astype(np.float32) / 255),
        background=colours(frame(small)),
    )


def _cast(pixels: NDArray[np.uint8]) -> tuple[float, float]:
    red, green, blue = (pixels.reshape(-1, 3).mean(0) / 255).tolist()
    return red - green, (red + green) / 2 - blue


def progress(work: list[T], name: str, unit: str) -> "tqdm[T]":
    """A bar for work that may be long."""
    return tqdm(work, desc=f"doctor: {name}", unit=unit, mininterval=1, disable=len(work) < WORTH_A_BAR)
