"""The prepared pictures and their loss-weight maps, looked at one by one: none is kept in memory."""

import hashlib
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pseudoword.errors import UserError
from pseudoword.pictures.prepared import PicturesUnreadable, read_pictures_table
from pseudoword.results.places import PICTURES


class PreparedPicture(NamedTuple):
    name: str  # the picture's id
    sha256: str  # of its file
    shape: tuple[int, int]  # width, height in px
    mask: Path | None  # its loss-weight map


class BadMask(UserError):
    def __init__(self, path: Path, found: str) -> None:
        super().__init__(
            f"{path}: the loss-weight map {found}. White counts, black does not: mend the mask of this picture in "
            "data.folder or take it away."
        )


def read_prepared_pictures() -> list[PreparedPicture]:
    """The used pictures in the order of their ids. Raises PicturesUnreadable."""
    table = read_pictures_table()
    weighted = table["weighted"] if "weighted" in table else [""] * len(table)
    return [_source(str(name), mark == "yes") for name, mark in zip(table["id"], weighted, strict=True)]


def _source(name: str, weighted: bool) -> PreparedPicture:
    path = PICTURES / f"{name}.png"
    try:
        content = path.read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            shape = image.size
    except OSError as error:
        raise PicturesUnreadable(path, str(error)) from None
    mask = PICTURES / f"{name}.mask.png" if weighted else None
    return PreparedPicture(name, hashlib.sha256(content).hexdigest(), shape, mask)


def read_weight(mask: Path, picture: tuple[int, int], height: int, width: int) -> Tensor:
    """A picture's loss weight by latent place, (1, height, width) float32 of mean 1.

    Each place has the mean of the mask's pixels that it covers. `picture` is (width, height) in px. Raises BadMask and
    PicturesUnreadable.
    """
    try:
        with Image.open(mask) as image:
            pixels = image.convert("L").convert("F")  # a float for each pixel: 8 bits would round the means
    except OSError as error:
        raise PicturesUnreadable(mask, str(error)) from None
    if pixels.size != picture:
        raise BadMask(mask, f"is {pixels.width}x{pixels.height} px, its picture {picture[0]}x{picture[1]}")
    # Pillow wants (width, height), the tensor is (height, width).
    cells = torch.from_numpy(np.array(pixels.resize((width, height), Image.Resampling.BOX))).double()
    if not cells.any():
        raise BadMask(mask, "is black all over, so that nothing of the picture would count")
    return (cells / cells.mean()).float().unsqueeze(0)
