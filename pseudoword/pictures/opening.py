"""Opening a file of unknown origin as an upright RGB picture of 8 bits."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from PIL import ExifTags, Image, UnidentifiedImageError

from pseudoword.pictures.colour import to_rgb, to_weight
from pseudoword.pictures.folder import NotUsable

# Pillow runs Ghostscript for EPS; nothing that somebody put into a folder of pictures may start a program.
UNSAFE = {"EPS"}
ONE_PICTURE = {"MPO", "PSD"}  # whatever number of frames Pillow gives
LARGE_PX = 40 * 10**6  # px; decoded, turned and flattened such a picture takes half a gigabyte
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


Result = TypeVar("Result")


class Upright(NamedTuple):
    rgb: Image.Image
    alpha: Image.Image | None  # L, opaque is 255; None where the file has no transparency


def open_upright(path: Path) -> Upright:
    """The picture as it is meant to be seen, an animation's first frame, over white.

    Raises NotUsable, also for one that nothing is seen of.
    """
    upright = _decode(path, lambda image: Upright(*to_rgb(image)))
    if upright.alpha is not None and upright.alpha.getextrema() == (0, 0):
        raise NotUsable("transparent all over: nothing of it is seen")
    return upright


def open_mask(path: Path) -> Image.Image:
    """A mask as L; what is transparent in it counts as black. Raises NotUsable."""
    return _decode(path, to_weight)


def has_frames(path: Path) -> bool:
    """Whether the file holds more frames or pages than the first, which alone is used; not layers, nor what a camera
    keeps beside a photograph."""
    return _says(path, lambda image: getattr(image, "n_frames", 1) > 1 and image.format not in ONE_PICTURE)


def is_large(path: Path) -> bool:
    """Whether it says that it has many pixels; a file that is no picture does not."""
    return _says(path, lambda image: image.width * image.height > LARGE_PX)


def _says(path: Path, true: Callable[[Image.Image], bool]) -> bool:
    """What the file says of itself before anything is decoded; False of one that cannot be opened."""
    try:
        with Image.open(path, formats=_formats()) as image:
            return true(image)
    except Exception:  # which decoding will tell of
        return False


def _decode(path: Path, convert: Callable[[Image.Image], Result]) -> Result:
    try:
        with Image.open(path, formats=_formats()) as image:
            image.load()
            turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
            return convert(image if turn is None else image.transpose(turn))
    except UnidentifiedImageError:
        raise NotUsable("not a picture in a format that can be read here; save it as JPEG or PNG") from None
    except Image.DecompressionBombError:
        raise NotUsable(f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6} million pixels") from None
    # A decoder that is fed with garbage raises nearly anything: SyntaxError, struct.error, IndexError, ...
    except Exception as error:
        raise NotUsable(f"cannot be decoded: {' '.join(str(error).split()) or type(error).__name__}") from None


def _formats() -> list[str]:
    Image.init()
    return [name for name in Image.ID if name not in UNSAFE]
