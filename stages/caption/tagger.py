"""A tagger of the WD14 or the DeepDanbooru kind: an ONNX model that scores a fixed list of tags, and that list.

It runs on the CPU, one picture at a time, so that what it says of a picture depends on that picture alone.
"""

from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

from pseudoword.base.hub import NotFetched, fetch, first_line
from pseudoword.captions.tagger_files import (
    CHARACTERS,
    DEEPDANBOORU,
    MODEL,
    WD14,
    NoTagger,
    tagger_files,
    weights_beside,
)  # fmt: skip
from pseudoword.files import sha256_of
from stages.caption.tags import BadTags, Writing, read_tags

# The side in px of the taggers that leave theirs open.
USUAL_SIDE = {WD14: 448, DEEPDANBOORU: 512}


def locate_tagger(model: str, revision: str | None) -> tuple[Path, Path]:
    """The model's file and the file of its tags; a hub id is fetched into the hub's cache first. Raises NoTagger."""
    path = Path(model)
    if not path.is_dir() and path.suffix != ".onnx":
        try:
            path = fetch(model, revision, [MODEL, f"{MODEL}*data", WD14, DEEPDANBOORU, CHARACTERS])
        except NotFetched as error:
            raise NoTagger(model, str(error)) from error
    return tagger_files(path, model)


class TagModel:
    """The model is loaded with `load`, or when the first picture comes. Raises NoTagger, BadTags."""

    def __init__(self, model: str, revision: str | None, writing: Writing) -> None:
        self.model, self.writing = model, writing
        self.file, self.tags_file = locate_tagger(model, revision)
        self.tags = read_tags(self.tags_file)
        digests = [sha256_of(path) for path in (self.file, *weights_beside(self.file))]
        self.key = ("tagger", digests, self.tags_file.name, self.tags, writing)

    def load(self) -> None:
        """Find what is wrong with the model before others have worked in vain."""
        assert self._session

    def draft(self, pictures: list[Image.Image]) -> list[str]:
        """The tags of each RGB picture, empty where none reaches its threshold."""
        return [self.writing.write(self.tags, [float(s) for s in self.scores(picture)]) for picture in pictures]

    def scores(self, picture: Image.Image) -> NDArray[np.float32]:
        """(N,) float32 in [0, 1], one for each tag."""
        session = self._session
        name, side = session.get_inputs()[0].name, self._side
        pixels = to_wd14(picture, side) if self.tags_file.name == WD14 else to_deepdanbooru(picture, side)
        try:
            scores = np.asarray(session.run(None, {name: pixels})[0])
        # ONNX Runtime's errors have no common class.
        except Exception as error:
            raise NoTagger(self.model, f"it does not run: {first_line(error)}") from error
        if scores.shape != (1, len(self.tags)):
            raise self._other_number(scores.shape)
        if not (np.isfinite(scores).all() and scores.min() >= -1e-3 and scores.max() <= 1.001):
            raise NoTagger(
                self.model, f"its scores reach from {scores.min():.3g} to {scores.max():.3g}, wanted is 0 to 1"
            )
        return np.asarray(scores[0].clip(0, 1), np.float32)

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(self.file, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise NoTagger(self.model, f"ONNX Runtime cannot read {self.file}: {first_line(error)}") from error
        inputs = session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or len(inputs[0].shape) != 4:
            found = ", ".join(f"{taken.name} {taken.type} {taken.shape}" for taken in inputs)
            raise NoTagger(self.model, f"it takes {found}; wanted is one picture as tensor(float) (1, side, side, 3)")
        batch, height, width, channels = inputs[0].shape
        if _known(channels) not in (None, 3) or _known(batch) not in (None, 1):
            raise NoTagger(self.model, f"it takes {inputs[0].shape}; wanted is (1, side, side, 3)")
        if _known(height) != _known(width):
            raise NoTagger(self.model, f"it takes pictures of {width} x {height} px; wanted are square ones")
        shape = session.get_outputs()[0].shape
        if len(shape) == 2 and _known(shape[1]) not in (None, len(self.tags)):
            raise self._other_number(tuple(shape))
        return session

    def _other_number(self, shape: tuple[int, ...]) -> BadTags:
        return BadTags(self.tags_file, f"holds {len(self.tags)} tags, but {self.file} gives {_shape(shape)}")

    @property
    def _side(self) -> int:
        return _known(self._session.get_inputs()[0].shape[1]) or USUAL_SIDE[self.tags_file.name]


def to_wd14(picture: Image.Image, side: int) -> NDArray[np.float32]:
    """(1, side, side, 3), blue first, 0 to 255, on a white square."""
    return _square(picture, side, mode="constant", constant_values=255)[..., ::-1].copy()


def to_deepdanbooru(picture: Image.Image, side: int) -> NDArray[np.float32]:
    """(1, side, side, 3), red first, 0 to 1, what is missing to the square filled with the picture's edges."""
    return _square(picture, side, mode="edge") / np.float32(255)


def _square(picture: Image.Image, side: int, **padding: object) -> NDArray[np.float32]:
    pixels = np.asarray(picture.convert("RGB"))
    height, width = pixels.shape[:2]
    over, left = (max(0, width - height), max(0, height - width))
    margins = ((over // 2, over - over // 2), (left // 2, left - left // 2), (0, 0))
    squared = Image.fromarray(np.pad(pixels, margins, **padding))  # type: ignore[call-overload]
    return np.asarray(squared.resize((side, side), Image.Resampling.BICUBIC), np.float32)[None]


def _known(length: object) -> int | None:
    """A side that the model leaves open has a name or nothing where others have a number."""
    return length if isinstance(length, int) else None


def _shape(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} scores" if len(shape) == 2 else f"scores of the shape {shape}"
