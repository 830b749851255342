"""Persons are judged by their faces: clothes and rooms would count as likeness otherwise."""

from collections.abc import Iterable

from PIL import Image
from torch import Tensor

from pseudoword.judge import ImageJudge
from pseudoword.pictures.faces import FaceFinder

MARGIN = 0.3  # of the face's longer side, around it


class FaceJudge:
    """An image judge that is shown the largest face of a picture, and all of it where no face is found."""

    def __init__(self, judge: ImageJudge) -> None:
        self.judge, self.find = judge, FaceFinder(None)

    @property
    def name(self) -> str:
        return self.judge.name

    def pictures(self, pictures: Iterable[Image.Image]) -> Tensor:
        """(N, D) float32 on the CPU."""
        return self.judge.pictures(map(self.face, pictures))

    def face(self, picture: Image.Image) -> Image.Image:
        """A square around the largest face."""
        faces = self.find(picture)
        if not faces:
            return picture
        left, top, width, height = max(faces, key=lambda face: face[2] * face[3])
        half = max(width, height) * (0.5 + MARGIN)
        x, y = left + width / 2, top + height / 2
        box = (max(x - half, 0), max(y - half, 0), min(x + half, picture.width), min(y + half, picture.height))
        return picture.crop(tuple(round(side) for side in box))  # type: ignore[arg-type]
