"""A measure of drawn pictures, and the evidence that it may look at.

A measure has a value for each picture, on a scale whose ends its file defines, so that the mean over pictures is the
figure of a checkpoint, and pictures of equal prompt and noise make pairs. NaN is a value that cannot be measured.

Letters in shapes: P pictures of a column, the seeds of a prompt together; N training pictures.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from pseudoword.judge import ImageJudge, TextJudge
from stages.judge.faces import FaceJudge

Floats = NDArray[np.float64]
THUMBNAIL_PX = 32
GRID = 8  # cells across and down a picture, within each of which its busyness is measured
LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601


@dataclass(frozen=True, eq=False)
class Sight:
    """All that is ever looked at of some pictures: these may be many and large, and are not kept."""

    features: Tensor  # (n, D) unit vectors of the image judge
    embeddings: Tensor  # (n, E) unit vectors of the text judge
    thumbnails: NDArray[np.float32]  # (n, THUMBNAIL_PX, THUMBNAIL_PX, 3), 0 to 1
    tones: Floats  # (n, 4) saturation, contrast, grain and busyness, each 0 to 1
    deviation: Floats  # (n,) of the pixels in the channel where it is largest, of 255

    def __getitem__(self, rows: list[int]) -> "Sight":
        return Sight(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def of(cls, pictures: list[Image.Image], images: ImageJudge | FaceJudge, texts: TextJudge) -> Self:
        return cls(
            features=images.pictures(pictures),
            embeddings=texts.pictures(pictures),
            thumbnails=np.stack([_thumbnail(picture) for picture in pictures]),
            tones=np.stack([_tones(np.asarray(picture, np.float64) / 255) for picture in pictures]),
            deviation=np.array([np.asarray(picture, np.float64).std((0, 1)).max() for picture in pictures]),
        )

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        columns = ([getattr(part, field.name) for part in parts] for field in fields(cls))
        joined: list[Any] = [torch.cat(c) if isinstance(c[0], Tensor) else np.concatenate(c) for c in columns]
        return cls(*joined)


@dataclass(frozen=True, eq=False)
class Training:
    """The pictures that the word was learned from."""

    ids: list[str]
    sources: list[str]  # the file of each: mirrored copies and tiles share one
    sight: Sight
    captions: list[str]
    caption_embeddings: Tensor  # (N, E) unit vectors of the text judge

    def apart(self) -> NDArray[np.bool_]:
        """(N, N) whether two pictures are of different files."""
        sources = np.array(self.sources)
        return np.asarray(sources[:, None] != sources[None])


@dataclass(frozen=True, eq=False)
class Evidence:
    """A column of pictures, and what it is held against. The controls have the same prompts and noise in each row."""

    drawn: Sight
    init: Sight  # what the base model draws with the init text in the word's place
    nothing: Sight  # with nothing there
    training: Training
    prompts: list[str]  # (P,)
    texts: list[str]  # (P,) what each prompt says besides the word; empty where it says nothing
    text_embeddings: Tensor  # (P, E) unit vectors of the text judge
    is_init: bool = False  # whether `drawn` is `init`


@dataclass(frozen=True)
class Measure:
    name: str  # its column
    higher_is_better: bool | None  # None: neither, such as a relative variety
    value: Callable[[Evidence], Floats]  # of each picture, (P,)


def _thumbnail(picture: Image.Image) -> NDArray[np.float32]:
    small = picture.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BOX)
    return np.asarray(small, np.float32) / np.float32(255)


def _tones(pixels: Floats) -> Floats:
    """Mean chroma, standard deviation of the luma, that of its Laplacian, and the median within the cells of a grid of
    that of the opponent colours (Hasler and Suesstrunk 2003), of pixels (H, W, 3) from 0 to 1."""
    luma = pixels @ LUMA
    middle = luma[1:-1, 1:-1]
    laplacian = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * middle
    red, green, blue = np.moveaxis(pixels, 2, 0)
    opponents = np.stack([red - green, blue - (red + green) / 2], axis=2)
    high, wide = (side // GRID for side in luma.shape)
    cells = opponents[: high * GRID, : wide * GRID].reshape(GRID, high, GRID, wide, 2)
    busyness = np.median(np.linalg.norm(cells.std((1, 3)), axis=2))
    return np.array([(pixels.max(2) - pixels.min(2)).mean(), luma.std(), laplacian.std() / 8, busyness])
