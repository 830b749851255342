"""Files of the project as Markdown, which is all that an artifact of Prefect can hold."""

import base64
import io
import re
from pathlib import Path

from PIL import Image

PICTURE_WIDTH_PX = 800  # in an artifact; the files have them whole


def as_picture(path: Path, text: str = "") -> str:
    """The picture, small. Empty where it cannot be read."""
    try:
        with Image.open(path) as picture:
            picture.thumbnail((PICTURE_WIDTH_PX, PICTURE_WIDTH_PX * 4))
            buffer = io.BytesIO()
            picture.convert("RGB").save(buffer, "JPEG", quality=85)
    except OSError:
        return ""
    return f"![{text}](data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()})"


def as_text(value: object) -> str:
    """As it is, whatever Markdown or HTML it would be."""
    return re.sub(r"[^\w .-]|_", lambda found: f"&#{ord(found[0])};", str(value))


def as_link(path: Path) -> str:
    """A link that holds the file itself, for whoever sees no disk of this machine. A click saves it."""
    return f"[{path.name}](data:application/octet-stream;base64,{base64.b64encode(path.read_bytes()).decode()})"
