"""The commands on files: inspect, convert, list and create, for words and for hypernetworks."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from torch.nn.functional import cosine_similarity
from transformers import CLIPTokenizer

from app import hypernetworks
from app.terminal import printable
from pseudoword.base.identity import ModelIdentity
from pseudoword.base.vocabulary import base_widths, read_vocabularies
from pseudoword.errors import UserError
from pseudoword.formats.embedding import BadEmbedding, Embedding
from pseudoword.formats.hypernetwork import BadHypernetwork
from pseudoword.formats.keys import Key
from pseudoword.formats.reading import EXTENSIONS, read_file, word_of
from pseudoword.formats.writing import KEYED, check_target, write_embedding
from pseudoword.hypernetwork import Hypernetwork
from pseudoword.settings.word import WordName
from pseudoword.word import NameTaken, check_name, initial_vectors, left_out, vocabulary_norms

TOYWORLD = "models/toyworld"  # the base model when none is named and the width is its own
NEAREST = 5  # words of the vocabulary shown for each vector
MOST_SHOWN = 500  # characters of one value of the metadata


class WrongWidth(UserError):
    def __init__(self, own: list[int], base: str, wanted: list[int]) -> None:
        has, wants = (" and ".join(map(str, widths)) for widths in (own, wanted))
        super().__init__(f"The word has vectors of {has} numbers, but {base} wants {wants}. Name its own base model.")


class NamedByItsFile(UserError):
    def __init__(self, path: Path, name: str) -> None:
        super().__init__(
            f"{path}: a word for SDXL or under another tool's key has the name of its file, so '{name}' would be "
            f"lost. Write to {path.with_name(name + path.suffix)}."
        )


class NoKeyWanted(UserError):
    def __init__(self, path: Path, key: str) -> None:
        super().__init__(
            f"--key {key} is for a word in a {' or '.join(KEYED)}; {path} has keys of its own. Leave it out: InvokeAI "
            "reads the .pt as it is."
        )


class BadName(UserError):
    def __init__(self, name: str) -> None:
        shown = name if len(name) <= 64 else f"{name[:64]}..."
        super().__init__(
            f"'{shown}' cannot be the name of a word. Wanted are 1 to 64 letters in lower case (diffusers finds no "
            "others), digits, '_', '-' and '.', a letter or digit first, such as 'snorf-x1'."
        )


class NotAFolder(UserError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is not a folder. Give the folder that holds the embedding files.")


def inspect(file: Path, base: str | None, config: str | None) -> None:
    """Print name, vectors, norms, nearest words and metadata of each word of the file, or what a hypernetwork is made
    of. Raises UserError."""
    # A base model that cannot be had or does not fit is told of before anything is.
    found = read_file(file)
    if isinstance(found, Hypernetwork):
        lines = [*hypernetworks.describe(found, base, config), *_metadata(found)]
    else:
        lines = [line for word in found for line in _described(word, base, config)]
    for line in lines:
        print(printable(line))


def _described(embedding: Embedding, base: str | None, config: str | None) -> Iterator[str]:
    count, width = embedding.vectors.shape
    yield f"name     {printable(embedding.name)}"
    yield f"vectors  {count}"
    yield f"width    {width}{'' if embedding.vectors_g is None else f' + {embedding.vectors_g.shape[1]} (SDXL)'}"
    yield f"norms    {_norms(embedding.vectors)}"
    if embedding.vectors_g is not None:
        yield f"norms_g  {_norms(embedding.vectors_g)}"
    if base or (embedding.vectors_g is None and _toyworld_fits(width)):
        yield from _nearest(_parts(embedding), base or TOYWORLD, config)
    yield from _metadata(embedding)


def _metadata(read: Embedding | Hypernetwork) -> Iterator[str]:
    for key, value in sorted(read.metadata.items()):
        yield f"  {printable(key)}: {printable(value[:MOST_SHOWN])}"


def _norms(vectors: Tensor) -> str:
    return " ".join(f"{norm:.3f}" for norm in vectors.norm(dim=-1).tolist())


def _toyworld_fits(width: int) -> bool:
    there = Path(TOYWORLD, "model_index.json").is_file()
    return there and any(Path(TOYWORLD, "text_encoder").glob("*.safetensors")) and base_widths(TOYWORLD) == (width,)


def _parts(embedding: Embedding) -> list[Tensor]:
    return [embedding.vectors] if embedding.vectors_g is None else [embedding.vectors, embedding.vectors_g]


def _nearest(parts: list[Tensor], base: str, config: str | None) -> Iterator[str]:
    """The nearest words to the vectors of each text encoder, in its own vocabulary."""
    vocabularies = read_vocabularies(base, config)
    own, wanted = ([table.shape[1] for table in tables] for tables in (parts, [table for _, table in vocabularies]))
    if own != wanted:
        raise WrongWidth(own, base, wanted)
    for label, part, (tokenizer, table) in zip(("nearest", "nearest_g"), parts, vocabularies, strict=False):
        yield f"{label:8} in {printable(base)}, whose words have a norm of {vocabulary_norms([table])[0]:.3f}"
        for row, vector in enumerate(part):
            yield f"  {row}: {_nearest_words(vector, tokenizer, table)}"


def _nearest_words(vector: Tensor, tokenizer: CLIPTokenizer, table: Tensor) -> str:
    if not vector.any():
        return "none, as all its numbers are zero"
    nearest = cosine_similarity(table, vector.unsqueeze(0)).topk(NEAREST)
    words = tokenizer.convert_ids_to_tokens(nearest.indices.tolist())
    pairs = zip(words, nearest.values.tolist(), strict=True)
    return ", ".join(f"{printable(readable(word))} {cosine:.2f}" for word, cosine in pairs)


def readable(token: str) -> str:
    """CLIP's `cat</w>` as `cat`, and `ca`, which only begins a word, as `ca-`."""
    return token.removesuffix("</w>") if token.endswith("</w>") else f"{token}-"


def convert(
    file: Path, out: Path, picture: Path | None, word: str | None, name: str | None, base: str | None,
    config: str | None, overwrite: bool, key: Key = "word",
) -> None:  # fmt: skip
    """Write the file's word, or its hypernetwork, in the format of `out`.

    picture   what a .png shows, None for a plain card
    word      which word of a file that holds several
    name      what it is called from now on, None to keep its name
    base      the model whose vocabulary the name is looked up in
    key       of the tensor, in a file that has a key of one's choice

    Raises UserError; then nothing is written.
    """
    check_target(out, overwrite)
    if key != "word" and out.suffix.lower() not in KEYED:
        raise NoKeyWanted(out, key)
    found = read_file(file)
    if isinstance(found, Hypernetwork):
        if key != "word":
            raise NoKeyWanted(out, key)
        written = hypernetworks.convert(found, file, out, picture, word, name, overwrite)
        _tell_of_hypernetwork(out, written)
        return
    embedding = word_of(found, file, word)
    if name is not None:
        embedding = replace(embedding, name=name)
    if embedding.vectors_g is not None or key != "word":  # the name is not in the file
        if name is not None:
            _check_file_name(out, name)
        embedding = replace(embedding, name=out.stem)
    if base is not None:
        _warn_of_known(embedding.name, base, config)
    write_embedding(out, embedding, picture, overwrite, key)
    print(f"{out}: {_summary(embedding)}")
    _warn_of_stem(out, embedding.name)


def _tell_of_hypernetwork(path: Path, hypernetwork: Hypernetwork) -> None:
    print(printable(f"{path}: {hypernetworks.summary(hypernetwork)}"))
    if told := hypernetwork.structure.told_of_comfyui():
        _warn(told)


def _warn_of_known(name: str, base: str, config: str | None) -> None:
    tokenizer = CLIPTokenizer.from_pretrained(ModelIdentity(base, config=config).configs / "tokenizer")
    try:
        near = check_name(name, tokenizer)
    except NameTaken:
        _warn(f"'{name}' is a word that {base} knows already, so old prompts would change their meaning")
    else:
        _warn_of_near(name, near, base)


def _warn_of_near(name: str, near: list[str], base: str) -> None:
    if near:
        _warn(f"'{name}' is close to words that {base} knows: {', '.join(near)}")


def _warn_of_stem(path: Path, name: str) -> None:
    # Of a picture A1111 reads the name that is stored in it.
    if path.stem != name and path.suffix.lower() != ".png":
        _warn(f"A1111 and ComfyUI go by the file's name: there the word is '{path.stem}', not '{name}'")


def _warn(text: str) -> None:
    print(f"warning: {printable(text)}")


def _check_file_name(path: Path, name: str) -> None:
    if path.stem != name:
        raise NamedByItsFile(path, name)


def list_folder(folder: Path, base: str | None, config: str | None) -> None:
    """Print a line for each word of the folder: loaded, or skipped and why. Raises UserError."""
    if not folder.is_dir():
        raise NotAFolder(folder)
    widths = base_widths(base, config) if base else None
    contexts = ModelIdentity(base, config=config).context_widths if base else None
    taken: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        # `cat.preview.png` shows what `cat.pt` draws.
        if path.is_file() and path.suffix.lower() in EXTENSIONS and not path.stem.lower().endswith(".preview"):
            _list_file(path, widths, contexts, taken)


def _list_file(path: Path, widths: tuple[int, ...] | None, contexts: list[int] | None, taken: dict[str, Path]) -> None:
    """Print a line for each word of the file, or its hypernetwork; `taken` gains the names of words that are loaded."""

    def tell(reason: str, summary: str) -> None:
        print(printable(f"{'skipped' if reason else 'loaded '}  {path}: {reason or summary}"))

    try:
        found = read_file(path)
    except (BadEmbedding, BadHypernetwork) as error:
        tell(error.found, "")
        return
    if isinstance(found, Hypernetwork):
        tell(hypernetworks.reason_to_skip(found, contexts) if contexts else "", hypernetworks.summary(found))
        return
    for embedding in found:
        reason = _reason_to_skip(embedding, widths, taken)
        tell(reason, _summary(embedding))
        if not reason:
            taken[embedding.name.lower()] = path


def _reason_to_skip(embedding: Embedding, widths: tuple[int, ...] | None, taken: dict[str, Path]) -> str:
    own = tuple(part.shape[1] for part in _parts(embedding))
    if widths is not None and len(own) != len(widths):
        return f"it is {'not ' if len(own) == 1 else ''}for SDXL"
    if widths is not None and own != widths:
        numbers, wanted = (" and ".join(map(str, each)) for each in (own, widths))
        return f"its vectors have {numbers} numbers, the base model wants {wanted}"
    if (clash := taken.get(embedding.name.lower())) is not None:  # A1111 does not look at the case
        return printable(f"its name '{embedding.name}' is that of {clash}")
    return ""


def create(name: str, out: Path, vectors: int, init_text: str, base: str, config: str | None, overwrite: bool) -> None:
    """Write an untrained word that starts at the embeddings of `init_text`; nothing where UserError is raised."""
    check_target(out, overwrite)
    _check_word_name(name)
    vocabularies = read_vocabularies(base, config)
    near = check_name(name, vocabularies[0][0])
    if len(vocabularies) > 1:
        _check_file_name(out, name)
    start = [initial_vectors(init_text, vectors, [table], [tokenizer]) for tokenizer, table in vocabularies]
    origin = {"pseudoword.init_text": init_text, "pseudoword.base_model": base, "pseudoword.step": "0"}
    embedding = Embedding(name, start[0], origin, *start[1:])
    write_embedding(out, embedding, overwrite=overwrite)
    print(f"{out}: {_summary(embedding)}")
    if lost := left_out(init_text, vectors, vocabularies[0][0]):
        _warn(lost)
    _warn_of_near(name, near, base)
    _warn_of_stem(out, name)


def create_hypernetwork(
    name: str, out: Path, layers: str, activation: str, layer_norm: bool, dropout: str, initialisation: str, seed: int,
    base: str, config: str | None, overwrite: bool,
) -> None:  # fmt: skip
    """Write an untrained hypernetwork; nothing where UserError is raised. See `app.hypernetworks.create`."""
    _tell_of_hypernetwork(
        out,
        hypernetworks.create(
            name, out, layers, activation, layer_norm, dropout, initialisation, seed, base, config, overwrite
        ),
    )


def _check_word_name(name: str) -> None:
    try:
        TypeAdapter(WordName).validate_python(name)
    except ValidationError:
        raise BadName(name) from None


def _summary(embedding: Embedding) -> str:
    count, width = embedding.vectors.shape
    second = "" if embedding.vectors_g is None else f" and {embedding.vectors_g.shape[1]}"
    vectors = "vector" if count == 1 else "vectors"
    return f"'{printable(embedding.name)}', {count} {vectors} of {width}{second} numbers"
