"""The pictures between files and tensors, and outputs/pictures as the stages after `preprocess` read it.

ids = used_ids()
read_pictures(ids)        # (N, 3, H, W) in [-1, 1]
open_pictures(ids)        # the same as Pillow images
each_picture(ids)         # the same one after the other: all of them may be more than the memory holds
open_masks(ids)           # their loss weights, None where all of a picture counts alike
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from pseudoword.errors import UserError
from pseudoword.results.places import PICTURES, PICTURES_TABLE


class PicturesUnreadable(UserError):
    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path} cannot be read: {reason}. Run `dvc repro preprocess` to make it again.")


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB image of 8 bits as (3, H, W) float32 in [-1, 1]."""
    pixels = torch.from_numpy(np.array(image.convert("RGB")))
    return pixels.permute(2, 0, 1).contiguous().float() / 127.5 - 1


def to_image(tensor: Tensor) -> Image.Image:
    """(3, H, W) of any float type as an RGB image; values outside [-1, 1] are clamped."""
    pixels = ((tensor.detach().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().cpu().numpy())


def read_pictures_table(path: Path = PICTURES_TABLE) -> pd.DataFrame:
    """The rows of used pictures, sorted by id, all columns text. Raises PicturesUnreadable."""
    return _rows("used", path).sort_values("id", ignore_index=True)


def read_skipped(path: Path = PICTURES_TABLE) -> list[tuple[str, str]]:
    """(source, reason) of each row that is no picture. Raises PicturesUnreadable."""
    table = _rows("skipped", path)
    return [(str(source), str(reason)) for source, reason in zip(table["source"], table["reason"], strict=True)]


def _rows(state: str, path: Path) -> pd.DataFrame:
    try:
        # As text: a file may be called 'null.png' and an id may look like the number 12345678e901.
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        return table[table["state"] == state]
    except (OSError, ValueError, KeyError) as error:
        raise PicturesUnreadable(path, str(error)) from None


def used_ids(path: Path = PICTURES_TABLE) -> list[str]:
    """Ids of the used pictures in the order that every stage keeps. Raises PicturesUnreadable."""
    return [str(name) for name in read_pictures_table(path)["id"]]


def open_pictures(ids: list[str], folder: Path = PICTURES) -> list[Image.Image]:
    """The pictures in the order of `ids`, RGB; their shapes may differ. Raises PicturesUnreadable."""
    return list(each_picture(ids, folder))


def each_picture(ids: list[str], folder: Path = PICTURES) -> Iterator[Image.Image]:
    """As `open_pictures`, each when it is asked for."""
    return (_open(folder / f"{name}.png", "RGB") for name in ids)


def open_masks(ids: list[str], folder: Path = PICTURES) -> list[Image.Image | None]:
    """The loss weight of each picture by place: L in the picture's px, 255 counts most; None: all of it counts alike.

    Raises PicturesUnreadable, also where a mask's px are not its picture's.
    """
    return [_open_mask(folder / f"{name}.png", folder / mask_name(name)) for name in ids]


def mask_name(name: str) -> str:
    """The file of the loss weight of the picture with the id `name`."""
    return f"{name}.mask.png"


def read_pictures(ids: list[str], folder: Path = PICTURES) -> Tensor:
    """(N, 3, H, W) float32 in [-1, 1], in the order of `ids`, which must be of one shape. Raises PicturesUnreadable."""
    return torch.stack([to_tensor(image) for image in open_pictures(ids, folder)])


def _open_mask(picture: Path, mask: Path) -> Image.Image | None:
    if not mask.exists():
        return None
    weight = _open(mask, "L")
    shown = _open(picture, "RGB")
    if weight.size != shown.size:
        found, wanted = (f"{image.width}x{image.height}" for image in (weight, shown))
        raise PicturesUnreadable(mask, f"it is {found} px, its picture {wanted}")
    return weight


def _open(path: Path, mode: str) -> Image.Image:
    try:
        with Image.open(path) as image:
            return image.convert(mode)
    except OSError as error:
        raise PicturesUnreadable(path, str(error)) from None
