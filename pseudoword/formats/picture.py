"""A word inside a picture, as A1111 shares it: in a text chunk of the PNG and, for sites that drop those, in pixels.

Both hold the dict of `a1111` as JSON, each tensor as {"TORCHTENSOR": nested lists}. The chunk `sd-ti-embedding` is
base64 in tEXt, not zTXt: readers refuse compressed chunks of more than 1 MiB, which a word of many vectors exceeds.
The dict of a word for SDXL has no room for metadata, so that a chunk of our own, `pseudoword`, carries it as JSON.
"""

import base64
import json
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from pseudoword.errors import UserError
from pseudoword.files import save_with
from pseudoword.formats.a1111 import from_content, to_content
from pseudoword.formats.embedding import BadEmbedding, Embedding
from pseudoword.formats.pixels import MIN_HEIGHT_PX, conceal, reveal

KEYWORD, TENSOR = "sd-ti-embedding", "TORCHTENSOR"
METADATA = "pseudoword"
FORMATS = ("PNG", "WEBP", "AVIF")


class BadPicture(UserError):
    def __init__(self, path: Path, found: str) -> None:
        super().__init__(f"{path} cannot carry the word: {found}. Give a picture at least {MIN_HEIGHT_PX} px high.")


def open_card(path: Path) -> Image.Image:
    """Any picture to carry a word, upright and RGB. Raises BadPicture."""
    try:
        with Image.open(path) as image:
            card = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadPicture(path, f"it cannot be opened ({error})") from None
    if card.height < MIN_HEIGHT_PX:
        raise BadPicture(path, f"it is {card.height} px high")
    return card


def save_picture(path: Path, embedding: Embedding, card: Image.Image) -> None:
    """Write a PNG of `card` with the word in a text chunk and in pixels beside it."""
    payload = to_json(to_content(embedding))
    text = PngInfo()
    text.add_text(KEYWORD, base64.b64encode(payload).decode())
    if embedding.vectors_g is not None and embedding.metadata:
        text.add_itxt(METADATA, json.dumps(embedding.metadata, sort_keys=True))
    image = conceal(card, payload)
    save_with(path, lambda partial: image.save(partial, format="PNG", pnginfo=text))


def load_picture(path: Path) -> Embedding:
    """Read the word of a PNG, or of any lossless picture that carries it in its pixels. Raises BadEmbedding."""
    payload, metadata = _payload(path)
    if payload is None:
        raise BadEmbedding(path, "it is a picture without a word in it, or was scaled or stored with loss")
    try:
        content = from_json(payload)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise BadEmbedding(path, f"the text in it is not a word ({type(error).__name__})") from None
    embedding = from_content(content, path)
    return embedding if embedding.vectors_g is None else replace(embedding, metadata=metadata)


def _payload(path: Path) -> tuple[bytes | None, dict[str, str]]:
    """The word as JSON, from the text or else the pixels, and the chunk of metadata."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.load()
            texts: dict[str, str] = getattr(image, "text", {})
            payload = base64.b64decode(texts[KEYWORD]) if KEYWORD in texts else reveal(image)
            return payload, _metadata(texts.get(METADATA, "{}"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except UnidentifiedImageError:
        raise BadEmbedding(path, "it is not a picture of the kinds that carry a word") from None
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise BadEmbedding(path, f"the picture cannot be read ({error})") from None


def _metadata(text: str) -> dict[str, str]:
    """The entries of a JSON object that are text; of anything else none, which is no harm to the word."""
    try:
        stated = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    pairs = stated.items() if isinstance(stated, dict) else ()
    return {_writable(key): _writable(value) for key, value in pairs if isinstance(value, str)}


def _writable(text: str) -> str:
    """Without halves of a character, which JSON can hold and no encoding can write."""
    return text.encode(errors="replace").decode()


def to_json(content: dict[str, object]) -> bytes:
    return json.dumps(content, default=_to_lists).encode()


def _to_lists(value: object) -> dict[str, object]:
    assert isinstance(value, Tensor), f"no JSON for {type(value).__name__}"
    return {TENSOR: value.tolist()}


def from_json(payload: bytes) -> object:
    """The dict with tensors (float64) again. Raises ValueError and, for lists that are no tensor, what torch raises."""
    return json.loads(payload, object_hook=_to_tensor)


def _to_tensor(item: dict[str, object]) -> object:
    return torch.tensor(item[TENSOR], dtype=torch.float64) if TENSOR in item else item
