"""Pictures inside the page."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pseudoword.errors import UserError

SMALL = 160  # px: below, a PNG is embedded as it is


class BadPicture(UserError):
    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} cannot be shown: {problem}. `dvc repro` makes it again.")


@dataclass(frozen=True)
class Picture:
    source: str  # a data: URI
    alt: str
    width: int  # px, as embedded
    height: int


def embed(path: Path, alt: str, largest: int) -> Picture:
    """A small PNG as it is; others as WebP, scaled down so that no side exceeds `largest` px. Raises BadPicture."""
    try:
        with Image.open(path) as file:
            image, kind = file.convert("RGB"), file.format
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise BadPicture(path, str(error)) from None
    if max(image.size) < SMALL and kind == "PNG":
        return _picture("png", path.read_bytes(), alt, image)
    image.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    content = io.BytesIO()
    image.save(content, "WEBP", quality=88)
    return _picture("webp", content.getvalue(), alt, image)


def _picture(kind: str, content: bytes, alt: str, image: Image.Image) -> Picture:
    return Picture(data_uri(f"image/{kind}", content), alt, *image.size)


def data_uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"
