"""Loss weight by place: from a mask file beside a picture, or from its transparency."""

from pathlib import Path

from PIL import Image

from pseudoword.pictures.folder import NotUsable, SourceFile, check_file
from pseudoword.pictures.opening import open_mask

MAX_ASPECT_ERROR = 0.02  # a mask's aspect ratio may be off by as much as rounding small sides makes it


def weight_of(
    source: SourceFile, picture: Image.Image, alpha: Image.Image | None, masks: str, folder: Path, recursive: bool
) -> Image.Image | None:
    """The weight map in px of the upright picture, L; None where all of it counts alike. Raises NotUsable.

    masks is none | alpha | files | auto.
    """
    if source.mask is not None and masks in ("files", "auto"):
        weight = _from_file(source.mask, picture, folder, recursive)
        if weight.getextrema() == (0, 0):
            raise NotUsable(f"its mask {source.mask.name} is black all over; draw in white what counts")
    elif alpha is not None and masks in ("alpha", "auto"):
        weight = alpha
    else:
        return None
    low, high = weight.getextrema()
    return None if low == high else weight


def _from_file(path: Path, picture: Image.Image, folder: Path, recursive: bool) -> Image.Image:
    try:
        check_file(path, folder, recursive)
        mask = open_mask(path)
    except NotUsable as error:
        raise NotUsable(f"its mask {path.name}: {error}") from None
    if mask.size == picture.size:
        return mask
    if abs(1 - mask.width * picture.height / (mask.height * picture.width)) > MAX_ASPECT_ERROR:
        raise NotUsable(
            f"its mask {path.name} is {mask.width}x{mask.height} px, the picture {picture.width}x{picture.height}; "
            "save it with the picture's width and height"
        )
    return mask.resize(picture.size, Image.Resampling.BILINEAR)
