"""Opening a file of unknown origin as an upright RGB picture of 8 bits."""

import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from stages.preprocess.folder import shown_name

# Pillow runs Ghostscript for EPS; nothing that somebody put into a folder of pictures may start a program.
UNSAFE = {"EPS"}
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class NotUsable(Exception):
    """Why a file is skipped, in a few words."""


def open_upright(path: Path) -> Image.Image:
    """The picture as it is meant to be seen, RGB of 8 bits, an animation's first frame. Raises NotUsable."""
    _check_file(path)
    try:
        # Pillow warns of odd metadata, and of pictures above half the size at which it refuses them: neither matters.
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_formats()) as image:
            image.load()
            turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
            upright = image.transpose(turn) if turn is not None else image
            return _over_white(_eight_bits(upright))
    except UnidentifiedImageError:
        raise NotUsable("not a picture in a format that can be read here; save it as JPEG or PNG") from None
    except Image.DecompressionBombError:
        raise NotUsable(f"more than {2 * (Image.MAX_IMAGE_PIXELS or 0) // 10**6} million pixels") from None
    # A decoder that is fed with garbage raises nearly anything: SyntaxError, struct.error, IndexError, ...
    except Exception as error:
        raise NotUsable(f"cannot be decoded: {' '.join(str(error).split()) or type(error).__name__}") from None


def _check_file(path: Path) -> None:
    # A table could not give such a name back.
    if shown_name(path) != path.name:
        raise NotUsable("its name is not plain text; rename it")
    if not path.exists():
        raise NotUsable("a link to nothing")
    if not path.resolve().is_relative_to(path.parent.resolve()):
        raise NotUsable("a link that leads out of the folder")
    if path.is_dir():
        raise NotUsable("a folder; only the files of data.folder itself are read")
    # A pipe would wait for a writer for ever.
    if not path.is_file():
        raise NotUsable("not a regular file")
    if path.stat().st_size == 0:
        raise NotUsable("empty file")


def _formats() -> list[str]:
    Image.init()
    return [name for name in Image.ID if name not in UNSAFE]


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale grey of 16 bits or more to 8; Pillow's own conversion clips it at 255."""
    if not image.mode.startswith(("I", "F")):
        return image
    grey = np.nan_to_num(np.asarray(image, np.float32), posinf=0, neginf=0)
    low, high = float(grey.min()), float(grey.max())
    # I is 16 bits in practice. Where it is more, and for floats, nothing says what white is: take the extremes.
    if image.mode != "F" and low >= 0 and high <= 65535:
        low, high = 0, 65535
    return Image.fromarray(((grey - low) * (255 / max(high - low, 1e-9))).round().astype(np.uint8))


def _over_white(image: Image.Image) -> Image.Image:
    """Whatever shows through is white: most cut-outs are made for it, and a model of photographs knows it well.

    The new canvas also leaves all metadata behind, so that equal pixels become equal files.
    """
    rgba = image.convert("RGBA")
    canvas = Image.new("RGB", rgba.size, "white")
    canvas.paste(rgba, mask=rgba.getchannel("A"))
    return canvas
