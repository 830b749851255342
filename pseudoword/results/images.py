"""Pictures inside a page, as data: URIs."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from pseudoword.errors import UserError

MAX_PNG_PX = 160  # a smaller PNG is embedded as it is


class NotShown(UserError):
    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} cannot be shown: {problem}. `dvc repro` makes it again.")


@dataclass(frozen=True)
class EmbeddedImage:
    source: str  # a data: URI
    alt: str
    width: int  # px, as embedded
    height: int


def open_drawn(path: Path) -> Image.Image:
    """A picture of the pipeline, RGB. Raises NotShown."""
    try:
        with Image.open(path) as file:
            return file.convert("RGB")
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise NotShown(path, str(error)) from None


def embed(path: Path, alt: str, max_side: int) -> EmbeddedImage:
    """A small PNG as it is; others as WebP, scaled down so that no side exceeds `max_side` px. Raises NotShown."""
    try:
        with Image.open(path) as file:
            image, kind = file.convert("RGB"), file.format
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise NotShown(path, str(error)) from None
    if max(image.size) < MAX_PNG_PX and kind == "PNG":
        return _image("png", path.read_bytes(), alt, image)
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    return as_webp(image, alt, 88)


def as_webp(image: Image.Image, alt: str, quality: int) -> EmbeddedImage:
    """`quality` from 0 to 100."""
    content = io.BytesIO()
    image.save(content, "WEBP", quality=quality)
    return _image("webp", content.getvalue(), alt, image)


def scaled(image: Image.Image, side: int) -> Image.Image:
    """So that the longer side has `side` px; what is smaller is enlarged smoothly."""
    scale = side / max(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


def _image(kind: str, content: bytes, alt: str, image: Image.Image) -> EmbeddedImage:
    return EmbeddedImage(data_uri(f"image/{kind}", content), alt, *image.size)


def data_uri(media_type: str, content: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def fitted(image: Image.Image, width: int, height: int) -> Image.Image:
    """In the middle of a white picture of this size in px, as large as it goes, its shape kept; enlarged smoothly."""
    scale = min(width / image.width, height / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    shown = image.resize(size, Image.Resampling.LANCZOS) if size != image.size else image
    if size == (width, height):
        return shown
    cell = Image.new("RGB", (width, height), "white")
    cell.paste(shown, ((width - size[0]) // 2, (height - size[1]) // 2))
    return cell
