"""What is measured in one picture, as plain numbers and small arrays; nothing here knows of the other pictures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[np.floating[Any]]
Box = tuple[int, int, int, int]  # left, top, right, bottom in px

TILES = 16  # per side, of which the most detailed fifth say how sharp a picture is
SALIENCE_PX = 96  # px, longest side at which a subject is looked for
MAX_BAR_SPREAD = 4  # of 255: as much may most rows of a bar differ from its colour; those at its end ring more (JPEG)
MIN_BAR_STEP = 16  # of 255: as much at least differs the picture beside a bar
MIN_STEP_SHARE = 0.75  # of the edge: beside a thing before a plain ground it is less
MIN_BAR_WIDTH = 0.03  # of the side: a bar's least width


def grey(image: Image.Image, side: int) -> NDArray[np.uint8]:
    """(side, side), the whole picture, whatever its shape."""
    return np.asarray(image.convert("L").resize((side, side), Image.Resampling.BOX))


def sharpness(image: Image.Image) -> float | None:
    """Energy of the Laplacian over that of the gradient where there is most detail, which contrast does not change.

    In focus 2 to 10; blurred by a radius of 1 px, or enlarged twofold, 0.4 to 1.5. None where no edge tells it: in a
    plain picture, and in one that is blurred by many px.
    """
    light = np.asarray(image.convert("L"), np.float32)
    inner = light[1:-1, 1:-1]
    laplacian = light[1:-1, :-2] + light[1:-1, 2:] + light[:-2, 1:-1] + light[2:, 1:-1] - 4 * inner
    fine = _tiles(laplacian**2)
    coarse = _tiles(((light[1:-1, 2:] - light[1:-1, :-2]) / 2) ** 2 + ((light[2:, 1:-1] - light[:-2, 1:-1]) / 2) ** 2)
    strongest = coarse >= np.percentile(coarse, 80)
    energy = float(coarse[strongest].sum())
    return float(fine[strongest].sum()) / energy if energy > len(coarse) else None


def _tiles(energy: Array) -> Array:
    """The mean energy of each tile; pictures too small for TILES tiles have fewer."""
    count = min(TILES, *energy.shape)
    height, width = energy.shape[0] // count, energy.shape[1] // count
    parts = energy[: count * height, : count * width].reshape(count, height, count, width)
    return np.asarray(parts.mean((1, 3)).ravel(), np.float32)


def bars(image: Image.Image, side: int = 256) -> tuple[float, float, float, float]:
    """Width of the bars of one colour at the left, top, right and bottom, as shares of the side; 0 without.

    Bars come in opposite pairs of one colour, and the picture beside them is another colour nearly all along.
    """
    pixels = np.asarray(image.resize((side, side), Image.Resampling.BOX), np.int16)
    left, right = _pair(pixels.transpose(1, 0, 2))
    top, bottom = _pair(pixels)
    return left, top, right, bottom


def _pair(rows: NDArray[np.int16]) -> tuple[float, float]:
    first, last = _bar(rows), _bar(rows[::-1])
    alike = np.abs(rows[0].mean(0) - rows[-1].mean(0)).max() <= 3 * MAX_BAR_SPREAD
    return (first, last) if first and last and alike else (0.0, 0.0)


def _bar(rows: NDArray[np.int16]) -> float:
    """Share of the rows from the first on that are one colour, if a clear step ends them."""
    colour = np.median(rows[0], axis=0)
    differs = np.abs(rows - colour).max(2)
    unlike = differs.mean(1)
    width = int((unlike > MIN_BAR_STEP).argmax())
    if not MIN_BAR_WIDTH * len(rows) <= width <= 0.45 * len(rows) or np.median(unlike[:width]) > MAX_BAR_SPREAD:
        return 0.0
    return width / len(rows) if (differs[width + 1] > MIN_BAR_STEP).mean() > MIN_STEP_SHARE else 0.0


def salience_outside(image: Image.Image, box: Box) -> float:
    """Share of what catches the eye (edges above the picture's usual ones) outside `box`, 0 to 1."""
    scale = SALIENCE_PX / max(image.size)
    width, height = (max(8, round(length * scale)) for length in image.size)
    pixels = np.asarray(image.convert("RGB").resize((width, height), Image.Resampling.BOX), np.float32)
    across, down = np.gradient(pixels, axis=1), np.gradient(pixels, axis=0)
    edges = np.sqrt((across**2 + down**2).sum(2))
    salient = np.maximum(edges - 2 * np.median(edges), 0)
    left, top, right, bottom = (round(value * scale) for value in box)
    total = float(salient.sum())
    return 1 - float(salient[top:bottom, left:right].sum()) / total if total else 0.0


def chroma(pixels: NDArray[np.uint8]) -> float:
    """How colourful (H, W, 3) is: the 95th percentile of max - min of a pixel's channels, 0 to 255."""
    return float(np.percentile(pixels.max(2).astype(np.int16) - pixels.min(2), 95))


def colours(pixels: Array) -> Array:
    """A soft histogram of N pixels, (N, 3) in 0 to 1, over lightness, red-green and yellow-blue; it adds up to 1."""
    red, green, blue = pixels.T
    lightness = (red + green + blue) / 3
    place = 6 * np.stack([lightness, red - green + 1, (red + green) / 2 - blue + 1], 1)
    low = np.floor(place).astype(np.int64)
    table = np.zeros((8, 14, 14), np.float32)
    for corner in np.ndindex(2, 2, 2):
        weight = np.where(np.array(corner), place - low, 1 - (place - low)).prod(1)
        np.add.at(table, tuple((low + np.array(corner)).T), weight)
    return table.ravel() / len(pixels)


def frame(pixels: NDArray[np.uint8], share: float = 0.17) -> Array:
    """The outer `share` on each side of (H, W, 3) as (N, 3) in 0 to 1: where the background is."""
    height, width = pixels.shape[:2]
    outside = np.ones((height, width), bool)
    high, wide = round(share * height), round(share * width)
    outside[high : height - high, wide : width - wide] = False
    return pixels[outside].astype(np.float32) / 255
