"""The picture that carries a word: its name and counts written over a plain ground or over a picture."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pseudoword.formats.embedding import Embedding

SIDE, GROUND = 512, (96, 120, 140)  # px, RGB
PADDING, OPACITY = 10, 230  # px, of 255
LARGEST = 72  # pt
PRINTABLE = 60  # characters of a name that are shown


def draw_card(embedding: Embedding, picture: Image.Image | None = None) -> Image.Image:
    """RGB: `picture`, or a plain square without one, with `<name>` at its head; at its foot what the base model is
    called, the start of its hash, and how many vectors and steps."""
    ground = picture.convert("RGB") if picture else Image.new("RGB", (SIDE, SIDE), GROUND)
    card = Image.composite(Image.new("RGB", ground.size), ground, _shade(*ground.size))
    told = embedding.metadata
    title = "".join(letter if letter.isprintable() else "?" for letter in embedding.name.strip("<>")[:PRINTABLE])
    steps = told.get("step") or told.get("pseudoword.step")
    model, sha = told.get("pseudoword.base_model", ""), told.get("pseudoword.base_sha256", "")
    _write(card, f"<{title}>", (PADDING, PADDING), "la", card.width * 3 // 4)
    foot = card.height - PADDING
    third = card.width // 3
    _write(card, model.rstrip("/").rpartition("/")[2][:PRINTABLE], (PADDING, foot), "ld", third)
    _write(card, f"[{sha[:10]}]" if sha else "", (card.width // 2, foot), "md", third)
    _write(
        card, f"{len(embedding.vectors)}v" + (f" {steps}s" if steps else ""), (card.width - PADDING, foot), "rd", third
    )
    return card


def _shade(width: int, height: int) -> Image.Image:
    """A mask that darkens head and foot, so that white text can be read on any picture."""
    down = np.linspace(0, 1, height)
    share = np.maximum(1 - np.cos(1.5 * down), 1 - np.cos(1.5 * (1 - down))) ** 2
    return Image.fromarray(np.repeat((255 * share).astype(np.uint8)[:, None], width, 1))


def _write(card: Image.Image, text: str, at: tuple[int, int], anchor: str, width: int) -> None:
    """White text, as large as fits into `width` px."""
    if not text:
        return
    drawing = ImageDraw.Draw(card, "RGBA")
    probe = drawing.textlength(text, font=ImageFont.load_default(LARGEST)) / LARGEST
    font = ImageFont.load_default(max(1, min(LARGEST, (width - 4 * PADDING) / probe)))
    drawing.text(at, text, fill=(255, 255, 255, OPACITY), font=font, anchor=anchor)
