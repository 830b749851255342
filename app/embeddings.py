"""The commands on files: inspect, convert, list and create, for words and for hypernetworks."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor
from torch.nn.functional import cosine_similarity
from transformers import CLIPTokenizer

from app import hypernetworks
from pseudoword.base.identity import ModelIdentity
from pseudoword.base.vocabulary import base_widths, read_vocabularies
from pseudoword.errors import UserError
from pseudoword.formats.embedding import BadEmbedding, Embedding
from pseudoword.formats.hypernetwork import BadHypernetwork
from pseudoword.formats.keys import Key
from pseudoword.formats.modelspec import renamed
from pseudoword.formats.reading import EXTENSIONS, read_file, word_of
from pseudoword.formats.writing import KEYED, check_target, write_embedding
from pseudoword.hypernetwork import Hypernetwork
from pseudoword.settings.word import WordName, can_name
from pseudoword.terminal import print_error, print_json, printable
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
        shown = printable(name if len(name) <= 64 else f"{name[:64]}...")
        super().__init__(
            f"'{shown}' cannot be the name of a word. Wanted are 1 to 64 letters in lower case (diffusers finds no "
            "others), digits, '_', '-' and '.', a letter or digit first, such as 'snorf-x1'."
        )


class NotAFolder(UserError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is not a folder. Give one that is there.")


class SameTarget(UserError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"Two of the files would become {path}. Convert them one by one.")


def inspect(files: Sequence[Path], base: str | None, config: str | None, as_json: bool) -> bool:
    """Print what each file holds, as JSON one list of all words and hypernetworks; False if one cannot be read or does
    not fit the base model, which is told in its place."""
    all_facts, good = [], True
    for file in files:
        try:
            found = [{"file": str(file), **facts} for facts in _facts_of_file(file, base, config)]
        except UserError as error:
            good = False
            found = [{"file": str(file), "error": str(error)}]
        if not as_json:
            _print_facts(found, with_file=len(files) > 1)
        all_facts += found
    if as_json:
        print_json(all_facts)
    return good


def _facts_of_file(file: Path, base: str | None, config: str | None) -> list[dict[str, Any]]:
    found = read_file(file)
    if isinstance(found, Hypernetwork):
        return [{**hypernetworks.facts(found, base, config), "metadata": found.metadata}]
    return [_facts(word, base, config) for word in found]


def _facts(embedding: Embedding, base: str | None, config: str | None) -> dict[str, Any]:
    """What there is to tell of a word; of each text encoder a width, norms and the nearest words to each vector."""
    parts = _parts(embedding)
    widths = [part.shape[1] for part in parts]
    facts: dict[str, Any] = {
        "name": embedding.name,
        "kind": "word",
        "vectors": len(embedding.vectors),
        "widths": widths,
        "norms": [part.double().norm(dim=-1).tolist() for part in parts],
    }
    if base or (len(parts) == 1 and _toyworld_fits(widths[0])):
        base = base or TOYWORLD
        vocabularies = read_vocabularies(base, config)
        if widths != (wanted := [table.shape[1] for _, table in vocabularies]):
            raise WrongWidth(widths, base, wanted)
        facts["base"] = base
        facts["base_norms"] = [vocabulary_norms([table])[0] for _, table in vocabularies]
        facts["nearest"] = [
            [_nearest_words(vector, tokenizer, table) for vector in part]
            for part, (tokenizer, table) in zip(parts, vocabularies, strict=True)
        ]
    return facts | {"metadata": embedding.metadata}


def _nearest_words(vector: Tensor, tokenizer: CLIPTokenizer, table: Tensor) -> list[dict[str, Any]]:
    """The words of the vocabulary with the highest cosine; none for a vector of zeros."""
    if not vector.any():
        return []
    direction = vector / vector.abs().max()  # whose squares are finite
    nearest = cosine_similarity(table, direction.unsqueeze(0)).topk(NEAREST)
    words = tokenizer.convert_ids_to_tokens(nearest.indices.tolist())
    return [
        {"word": readable(word), "cosine": cosine} for word, cosine in zip(words, nearest.values.tolist(), strict=True)
    ]


def _print_facts(found: Sequence[dict[str, Any]], with_file: bool) -> None:
    for facts in found:
        if error := facts.get("error"):
            print_error(error)
            continue
        if with_file:
            print(printable(f"file     {facts['file']}"))
        lines = hypernetworks.lines(facts) if facts["kind"] == "hypernetwork" else _lines(facts)
        for line in [*lines, *(f"  {key}: {value[:MOST_SHOWN]}" for key, value in sorted(facts["metadata"].items()))]:
            print(printable(line))


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    widths = facts["widths"]
    yield f"name     {facts['name']}"
    yield f"vectors  {facts['vectors']}"
    yield f"width    {widths[0]}{f' + {widths[1]} (SDXL)' if len(widths) > 1 else ''}"
    for label, norms in zip(("norms", "norms_g"), facts["norms"], strict=False):
        yield f"{label:8} {' '.join(f'{norm:.3f}' for norm in norms)}"
    for label, norm, nearest in zip(
        ("nearest", "nearest_g"), facts.get("base_norms", ()), facts.get("nearest", ()), strict=False
    ):
        yield f"{label:8} in {facts['base']}, whose words have a norm of {norm:.3f}"
        for row, words in enumerate(nearest):
            shown = ", ".join(f"{near['word']} {near['cosine']:.2f}" for near in words)
            yield f"  {row}: {shown or 'none, as all its numbers are zero'}"


def _toyworld_fits(width: int) -> bool:
    there = Path(TOYWORLD, "model_index.json").is_file()
    return there and any(Path(TOYWORLD, "text_encoder").glob("*.safetensors")) and base_widths(TOYWORLD) == (width,)


def _parts(embedding: Embedding) -> list[Tensor]:
    return [embedding.vectors] if embedding.vectors_g is None else [embedding.vectors, embedding.vectors_g]


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
    kept = embedding.name
    if name is not None:
        embedding = replace(embedding, name=name)
    if embedding.vectors_g is not None or key != "word":  # the name is not in the file
        if name is not None:
            _check_file_name(out, name)
        embedding = replace(embedding, name=out.stem)
    if embedding.name != kept:
        embedding = replace(embedding, metadata=renamed(embedding.metadata, embedding.name))
    if base is not None:
        _warn_of_known(embedding.name, base, config)
    write_embedding(out, embedding, picture, overwrite, key)
    print(f"{out}: {_summary(embedding)}")
    _warn_of_stem(out, embedding.name)


def convert_all(files: Sequence[Path], folder: Path, suffix: str, overwrite: bool, key: Key) -> None:
    """Write each file's word, or hypernetwork, into the folder in the format of `suffix`. Raises UserError."""
    if not folder.is_dir():
        raise NotAFolder(folder)
    targets = [folder / f"{file.stem}.{suffix.lstrip('.')}" for file in files]
    if twice := [target for target in targets if targets.count(target) > 1]:
        raise SameTarget(twice[0])
    for target in targets:
        check_target(target, overwrite)
    for file, target in zip(files, targets, strict=True):
        convert(file, target, None, None, None, None, None, overwrite, key)


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
        if not can_name(name):
            raise BadName(name)
        raise NamedByItsFile(path, name)


class Listed(NamedTuple):
    """A file of a folder, or a word of a file that holds several."""

    file: Path
    state: str  # loaded | same (a word that another file gave) | skipped
    text: str  # what it is, or why it is skipped


def list_folders(folders: Sequence[Path], base: str | None, config: str | None, as_json: bool) -> None:
    """Print of each word of the folders whether it is loaded, or why it is skipped. Raises UserError."""
    for folder in folders:
        if not folder.is_dir():
            raise NotAFolder(folder)
    widths = base_widths(base, config) if base else None
    contexts = ModelIdentity(base, config=config).context_widths if base else None
    found = []
    for folder in folders:
        taken: dict[str, tuple[Path, Embedding]] = {}
        for path in sorted(folder.rglob("*")):
            # `cat.preview.png` shows what `cat.pt` draws.
            if not path.is_dir() and path.suffix.lower() in EXTENSIONS and not path.stem.lower().endswith(".preview"):
                for listed in _list_file(path, widths, contexts, taken):
                    found.append(listed)
                    if not as_json:
                        print(printable(f"{listed.state:7}  {path}: {listed.text}"))
    if as_json:
        print_json([{**listed._asdict(), "file": str(listed.file)} for listed in found])


def _list_file(
    path: Path, widths: tuple[int, ...] | None, contexts: list[int] | None, taken: dict[str, tuple[Path, Embedding]]
) -> Iterator[Listed]:
    """`taken` gains the words that are loaded, by name."""
    if not path.exists():
        yield Listed(path, "skipped", f"it is a link to {path.readlink()}, which is not there")
        return
    try:
        found = read_file(path)
    except (BadEmbedding, BadHypernetwork) as error:
        yield Listed(path, "skipped", error.found)
        return
    if isinstance(found, Hypernetwork):
        reason = hypernetworks.reason_to_skip(found, contexts) if contexts else ""
        yield Listed(path, "skipped" if reason else "loaded", reason or hypernetworks.summary(found))
        return
    for embedding in found:
        if reason := _misfit(embedding, widths):
            yield Listed(path, "skipped", reason)
            continue
        first, known = taken.setdefault(embedding.name.lower(), (path, embedding))  # A1111 does not look at the case
        if known is embedding:
            yield Listed(path, "loaded", _summary(embedding))
        elif _same_vectors(known, embedding):
            yield Listed(path, "same", f"{_summary(embedding)}, as in {first}")
        else:
            yield Listed(path, "skipped", f"its name '{embedding.name}' is that of {first}")


def _misfit(embedding: Embedding, widths: tuple[int, ...] | None) -> str:
    """Why the word is not for a base model with embeddings of these widths; empty where it is."""
    found = tuple(part.shape[1] for part in _parts(embedding))
    if widths is None or found == widths:
        return ""
    if len(found) != len(widths):
        return f"it is {'not ' if len(found) == 1 else ''}for SDXL"
    numbers, wanted = (" and ".join(map(str, each)) for each in (found, widths))
    return f"its vectors have {numbers} numbers, the base model wants {wanted}"


def _same_vectors(a: Embedding, b: Embedding) -> bool:
    return len(_parts(a)) == len(_parts(b)) and all(map(torch.equal, _parts(a), _parts(b)))


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
