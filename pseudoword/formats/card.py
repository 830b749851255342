"""The picture that carries a word: its name and counts written over a plain ground or over a picture."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pseudoword.formats.embedding import Embedding

SIDE_PX, BACKGROUND = 512, (96, 120, 140)  # RGB
PADDING, OPACITY = 10, 230  # px, of 255
MAX_FONT_PT, MIN_FONT_PT = 72, 20
MAX_NAME_CHARACTERS, MAX_MODEL_CHARACTERS = 60, 24  # characters that are shown


def draw_card(embedding: Embedding, picture: Image.Image | None = None) -> Image.Image:
    """RGB: `picture`, or a plain square without one, with `<name>` at its head; at its foot what the base model is
    called, the start of its hash, and how many vectors and steps. A small picture is enlarged by a whole factor to
    about 512 px, so that there is room for the text."""
    ground = _enlarged(picture.convert("RGB")) if picture else Image.new("RGB", (SIDE_PX, SIDE_PX), BACKGROUND)
    card = Image.composite(Image.new("RGB", ground.size), ground, _shade(*ground.size))
    drawing = ImageDraw.Draw(card, "RGBA")
    title = f"<{_shown(embedding.name.strip('<>'), MAX_NAME_CHARACTERS)}>"
    size = max(_fitting(title, card.width * 3 // 4 - 4 * PADDING), min(MIN_FONT_PT, _fitting(title, _room(card.width))))
    _write(drawing, title, (PADDING, PADDING), "la", size)
    _write_foot(drawing, card, _facts(embedding), size)
    return card


def _enlarged(picture: Image.Image) -> Image.Image:
    factor = max(1, SIDE_PX // max(picture.size))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)


def _facts(embedding: Embedding) -> tuple[str, str, str]:
    """The texts at the left, in the middle and at the right of the foot."""
    metadata = embedding.metadata
    steps = metadata.get("step") or metadata.get("pseudoword.step")
    model = metadata.get("pseudoword.base_model") or metadata.get("sd_checkpoint_name", "")
    sha = metadata.get("pseudoword.base_sha256") or metadata.get("sd_checkpoint", "")
    counts = f"{len(embedding.vectors)}v" + (f" {_shown(steps, MAX_MODEL_CHARACTERS)}s" if steps else "")
    name = model.rstrip("/").rpartition("/")[2]
    return _shown(name, MAX_MODEL_CHARACTERS), f"[{_shown(sha[:10], MAX_MODEL_CHARACTERS)}]" if sha else "", counts


def _write_foot(drawing: ImageDraw.ImageDraw, card: Image.Image, facts: tuple[str, str, str], largest: float) -> None:
    """All three in one size, each in its third."""
    size = min(
        largest, max(1, card.width / 16), *(_fitting(text, card.width // 3 - 2 * PADDING) for text in facts if text)
    )
    places = ((PADDING, "ls"), (card.width // 2, "ms"), (card.width - PADDING, "rs"))
    for text, (x, anchor) in zip(facts, places, strict=True):
        _write(drawing, text, (x, card.height - PADDING), anchor, size)


def _shown(text: str, most: int) -> str:
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    return text if len(text) <= most else f"{text[: most // 2]}...{text[len(text) - most // 2 + 3 :]}"


def _room(width: int) -> int:
    return width - 2 * PADDING


def _fitting(text: str, width: int) -> float:
    """pt at which `text` is at most `width` px wide, from 1 to MAX_FONT_PT."""
    size = max(1, min(MAX_FONT_PT, width * MAX_FONT_PT / ImageFont.load_default(MAX_FONT_PT).getlength(text)))
    while size > 1 and ImageFont.load_default(size).getlength(text) > width:  # small letters are set wider
        size = max(1, size - 0.5)
    return size


def _shade(width: int, height: int) -> Image.Image:
    """A mask that darkens head and foot, so that white text can be read on any picture."""
    down = np.linspace(0, 1, height)
    share = np.maximum(1 - np.cos(1.5 * down), 1 - np.cos(1.5 * (1 - down))) ** 2
    return Image.fromarray(np.repeat((255 * share).astype(np.uint8)[:, None], width, 1))


def _write(drawing: ImageDraw.ImageDraw, text: str, place: tuple[int, int], anchor: str, size: float) -> None:
    drawing.text(place, text, fill=(255, 255, 255, OPACITY), font=ImageFont.load_default(size), anchor=anchor)
