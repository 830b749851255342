"""One door to every embedding file: what a file is, is read from its first bytes, then from its extension."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from pseudoword.errors import UserError
from pseudoword.formats.a1111 import from_content, load_pt
from pseudoword.formats.bundle import is_bundle, load_bundle
from pseudoword.formats.embedding import BadEmbedding, Embedding, load_embedding, stored_tensor, unreadable
from pseudoword.formats.hypernetwork import MAX_BYTES, load_hypernetwork
from pseudoword.formats.hypernetwork import from_content as hypernetwork_of
from pseudoword.formats.keyed import from_keyed
from pseudoword.formats.keys import SDXL
from pseudoword.formats.pickled import load_pickled
from pseudoword.formats.picture import load_picture
from pseudoword.formats.strangers import has_hypernetwork, is_hypernetwork, told_by_bytes
from pseudoword.hypernetwork import Hypernetwork
from pseudoword.links import waits_for_ever

Learned = Embedding | Hypernetwork

PICKLES, PICTURES = (".pt", ".bin"), (".png", ".webp", ".avif")
EXTENSIONS = (".safetensors", *PICKLES, *PICTURES)
MAX_MARK_BYTES = 256  # bytes of a file that say what it is


class NotInBundle(UserError):
    def __init__(self, path: Path, word: str | None, words: list[str]) -> None:
        self.found = f"has no word '{word}'" if word else f"holds {len(words)} words"
        self.words = words
        super().__init__(f"{path} {self.found}; name one of them with --word: {', '.join(map(repr, words))}.")


def read_embedding(path: Path, word: str | None = None) -> Embedding:
    """The word of an embedding file of any kind; `word` says which where a file holds several.

    Raises BadEmbedding for what is no embedding, UserError when there is no file, NotInBundle. Runs no code of a file.
    """
    return word_of(read_embeddings(path), path, word)


def word_of(embeddings: list[Embedding], path: Path, word: str | None) -> Embedding:
    """The word of that name, or the only one of the file. Raises NotInBundle."""
    found = [embedding for embedding in embeddings if word is None or embedding.name == word]
    if len(found) != 1:
        raise NotInBundle(path, word, [embedding.name for embedding in embeddings])
    return found[0]


def read_embeddings(path: Path) -> list[Embedding]:
    """All words of a file, at least one: a LoRA can bring several. Raises as `read_embedding` does."""
    kind = _kind(path)
    if kind == "picture":
        return [load_picture(path)]
    if kind == "pickle":
        return [load_pt(path)]
    return _read_safetensors(path)


def read_file(path: Path) -> list[Embedding] | Hypernetwork:
    """All words of a file, or the hypernetwork that it is. Raises as `read_embedding` does, and BadHypernetwork."""
    kind = _kind(path)
    if kind == "pickle":
        content = load_pickled(path, MAX_BYTES)
        return hypernetwork_of(content, path) if is_hypernetwork(content) else [from_content(content, path)]
    if kind == "safetensors" and has_hypernetwork(_keys(path)):
        return load_hypernetwork(path)
    return read_embeddings(path)


def read_learned(path: Path) -> Learned:
    """The word or the hypernetwork of a file. Raises as `read_file` does."""
    found = read_file(path)
    return found if isinstance(found, Hypernetwork) else word_of(found, path, None)


def _kind(path: Path) -> str:
    start = _start(path)
    if start[8:9] == b"{":  # after the length of the header, whose bytes may look like anything
        return "safetensors"
    if start.startswith((b"\x89PNG", b"RIFF")) or start[4:8] == b"ftyp":
        return "picture"
    if start.startswith((b"PK\x03\x04", b"\x80")):
        return "pickle"
    suffix = path.suffix.lower()
    return "picture" if suffix in PICTURES else "pickle" if suffix in PICKLES else "safetensors"


def _start(path: Path) -> bytes:
    if waits_for_ever(path):
        raise BadEmbedding(path, "it is a pipe or a device")
    try:
        with path.open("rb") as file:
            start = file.read(MAX_MARK_BYTES)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except OSError as error:
        raise BadEmbedding(path, f"it cannot be read ({error.strerror})") from None
    if not start:
        raise BadEmbedding(path, "it is empty")
    if what := told_by_bytes(start):
        raise BadEmbedding(path, what)
    return start


def _read_safetensors(path: Path) -> list[Embedding]:
    keys = _keys(path)
    try:
        if is_bundle(keys):
            return load_bundle(path)
        return [_read_sdxl(path) if set(keys) == SDXL else load_embedding(path)]
    except (SafetensorError, OSError) as error:
        raise unreadable(path, error) from None


def _keys(path: Path) -> list[str]:
    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    except (SafetensorError, OSError) as error:
        raise unreadable(path, error) from None


def _read_sdxl(path: Path) -> Embedding:
    with safe_open(path, framework="pt") as file:
        pair = from_keyed({key: stored_tensor(file, key, path) for key in SDXL}, path)
        return Embedding(pair.name, pair.vectors, dict(file.metadata() or {}), pair.vectors_g)
