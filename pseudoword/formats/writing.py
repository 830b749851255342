"""One door to every embedding file that we write: the extension says which."""

from pathlib import Path

from pseudoword.errors import UserError
from pseudoword.formats.a1111 import save_bin, save_pt
from pseudoword.formats.card import draw_card
from pseudoword.formats.embedding import Embedding
from pseudoword.formats.keyed import to_keyed
from pseudoword.formats.keys import Key
from pseudoword.formats.picture import open_card, save_picture
from pseudoword.formats.tensors import save_tensors

EXTENSIONS = (".safetensors", ".pt", ".bin", ".png")
KEYED = (".safetensors", ".bin")  # those with a key of one's choice


class UnknownExtension(UserError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: there is no format for '{path.suffix}'. Give it one of {', '.join(EXTENSIONS)}.")


class AlreadyThere(UserError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is there already. Choose another name, or give --overwrite.")


class NoPictureWanted(UserError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is not a PNG, so it has no place for a picture. Leave it out, or write to a .png.")


def write_embedding(
    path: Path, embedding: Embedding, picture: Path | None = None, overwrite: bool = False, key: Key = "word"
) -> None:
    """Write atomically in the format of the extension.

    picture  what a .png shows; a plain card without one
    key      of the tensor in a .safetensors or .bin; .pt and .png have A1111's own keys

    Raises UnknownExtension, AlreadyThere, NoPictureWanted, ReservedName and BadPicture, all before anything is written.
    """
    check_target(path, overwrite)
    kind = path.suffix.lower()
    if picture and kind != ".png":
        raise NoPictureWanted(path)
    if kind == ".png":
        save_picture(path, embedding, draw_card(embedding, open_card(picture) if picture else None))
    elif kind == ".safetensors":
        save_tensors(path, to_keyed(embedding, key), embedding.metadata)
    elif kind == ".bin":
        save_bin(path, embedding, key)
    else:
        save_pt(path, embedding)


def check_target(path: Path, overwrite: bool) -> None:
    """Raise UnknownExtension or AlreadyThere."""
    if path.suffix.lower() not in EXTENSIONS:
        raise UnknownExtension(path)
    if path.exists() and not overwrite:
        raise AlreadyThere(path)
