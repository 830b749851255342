"""Arithmetic of shapes: which px a picture becomes, and which part of it is shown. Boxes are left, top, right, bottom.

Nothing here opens a picture, so all of it is exact and quick to test.
"""

import math

from pseudoword.settings.preprocess import AutosizeSettings

Px = tuple[int, int]  # width, height
Box = tuple[float, float, float, float]

MAX_RATIO = 4.0  # longest aspect ratio of a bucket, as in SDXL's list
STEP_PX = 64  # px between the sides that autosize chooses from


def cover_box(source: Px, target: Px, centre: tuple[float, float] = (0.5, 0.5)) -> Box:
    """The largest part of `source` with the aspect ratio of `target`, as near to `centre` (shares) as it can lie."""
    (width, height), ratio = source, target[0] / target[1]
    if width / height == ratio:
        return 0.0, 0.0, float(width), float(height)
    across, down = (ratio * height, float(height)) if width / height > ratio else (float(width), width / ratio)
    left = min(max(centre[0] * width - across / 2, 0.0), width - across)
    top = min(max(centre[1] * height - down / 2, 0.0), height - down)
    return left, top, min(left + across, width), min(top + down, height)


def buckets(side: int, multiple: int) -> list[Px]:
    """For each side the longest other one whose area is at most that of the square; all multiples of `multiple`.

    A `side` that is no multiple itself counts as the next lower one.
    """
    area = max(side // multiple * multiple, multiple) ** 2
    half = {(width, area // width // multiple * multiple) for width in range(multiple, area // multiple + 1, multiple)}
    shapes = half | {(width, height) for height, width in half}
    return sorted((width, height) for width, height in shapes if 1 / MAX_RATIO <= width / height <= MAX_RATIO)


def nearest_bucket(source: Px, shapes: list[Px]) -> Px:
    """The one of nearest aspect ratio, the larger of equals."""

    def distance(shape: Px) -> tuple[float, int]:
        off = abs(math.log(shape[0] * source[1] / (shape[1] * source[0])))
        return round(off, 9), -shape[0] * shape[1]

    return min(shapes, key=distance)


def cut_down(source: Px, multiple: int) -> Px | None:
    """The source's own px, each side down to a multiple; None where it is smaller than one."""
    width, height = (side // multiple * multiple for side in source)
    return (width, height) if width and height else None


def autosized(source: Px, sizes: AutosizeSettings) -> Px | None:
    """The allowed shape of largest area or nearest aspect ratio; None where all are off by more than max_error."""

    def error(shape: Px) -> float:
        ratio = (source[0] / source[1]) / (shape[0] / shape[1])
        return 1 - min(ratio, 1 / ratio)

    sides = range(sizes.min_side, sizes.max_side + 1, STEP_PX)
    shapes = [
        (width, height)
        for width in sides
        for height in sides
        if sizes.min_area <= width * height <= sizes.max_area and error((width, height)) <= sizes.max_error
    ]
    if sizes.prefer == "area":
        return max(shapes, key=lambda shape: (shape[0] * shape[1], -error(shape)), default=None)
    return max(shapes, key=lambda shape: (-error(shape), shape[0] * shape[1]), default=None)


def tile_offsets(source: Px, target: Px, threshold: float, overlap: float) -> list[int]:
    """Where the tiles of a long picture begin, in px along its long side once its short side has the target's.

    Empty where it is not split: its aspect ratio over the target's is above `threshold`.
    """
    width, height = source
    tall = height > width
    # Of the short side's length over the long one's, what the target's shape does not account for.
    ratio = (width * target[1]) / (height * target[0]) if tall else (height * target[0]) / (width * target[1])
    length, tile = long_side(source, target), target[1] if tall else target[0]
    if ratio >= 1 or ratio > threshold or length <= tile:
        return []
    count = max(math.ceil((length - tile * overlap) / (tile * (1 - overlap))), 2)
    return [int(number * (length - tile) / (count - 1)) for number in range(count)]


def long_side(source: Px, target: Px) -> int:
    """Px of the long side once the short side has the target's; a square counts as wide."""
    width, height = source
    return height * target[0] // width if height > width else width * target[1] // height


def tile_box(source: Px, target: Px, offset: int) -> Box:
    """The part of `source` that the tile at `offset` shows."""
    width, height = source
    length = long_side(source, target)
    if height > width:
        return 0.0, offset * height / length, float(width), (offset + target[1]) * height / length
    return offset * width / length, 0.0, (offset + target[0]) * width / length, float(height)


def whole(box: Box, source: Px) -> tuple[int, int, int, int]:
    """The box in whole px of the source, never empty."""
    left, top = min(round(box[0]), source[0] - 1), min(round(box[1]), source[1] - 1)
    return left, top, max(round(box[2]), left + 1), max(round(box[3]), top + 1)
