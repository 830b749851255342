"""The picture that carries a word: its name and counts written over a plain ground or over a picture."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pseudoword.formats.embedding import Embedding
from pseudoword.formats.picture import open_card

SIDE, GROUND = 512, (96, 120, 140)  # px, RGB
PADDING, OPACITY = 10, 230  # px, of 255
LARGEST = 72  # pt
PRINTABLE = 60  # characters of a name that are shown


def draw_card(embedding: Embedding, picture: Path | None = None) -> Image.Image:
    """RGB: `picture`, or a plain square without one, with `<name>` at its head and vectors and steps at its foot."""
    ground = open_card(picture) if picture else Image.new("RGB", (SIDE, SIDE), GROUND)
    card = Image.composite(Image.new("RGB", ground.size), ground, _shade(*ground.size))
    title = "".join(letter if letter.isprintable() else "?" for letter in embedding.name.strip("<>")[:PRINTABLE])
    steps = embedding.metadata.get("step") or embedding.metadata.get("pseudoword.step")
    _write(card, f"<{title}>", (PADDING, PADDING), "la", card.width * 3 // 4)
    foot = f"{len(embedding.vectors)}v" + (f" {steps}s" if steps else "")
    _write(card, foot, (card.width - PADDING, card.height - PADDING), "rd", card.width // 3)
    return card


def _shade(width: int, height: int) -> Image.Image:
    """A mask that darkens head and foot, so that white text can be read on any picture."""
    down = np.linspace(0, 1, height)
    share = np.maximum(1 - np.cos(1.5 * down), 1 - np.cos(1.5 * (1 - down))) ** 2
    return Image.fromarray(np.repeat((255 * share).astype(np.uint8)[:, None], width, 1))


def _write(card: Image.Image, text: str, at: tuple[int, int], anchor: str, width: int) -> None:
    """White text, as large as fits into `width` px."""
    drawing = ImageDraw.Draw(card, "RGBA")
    probe = drawing.textlength(text, font=ImageFont.load_default(LARGEST)) / LARGEST
    font = ImageFont.load_default(max(1, min(LARGEST, (width - 4 * PADDING) / probe)))
    drawing.text(at, text, fill=(255, 255, 255, OPACITY), font=font, anchor=anchor)
