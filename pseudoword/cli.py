"""pseudoword inspect | convert | list | create: embedding files; review: captions; doctor: data sets.

Modules that need torch are imported by the command that needs them, so that `--help` answers at once.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pseudoword.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import CLIPTokenizer

    from pseudoword.formats.embedding import Embedding

TOYWORLD = "models/toyworld"  # the base model when none is named and the width is its own
NEAREST = 5  # words of the vocabulary shown for each vector
MOST_SHOWN = 500  # characters of one value of the metadata
OUT = "by its extension: .safetensors, .pt (A1111), .bin (diffusers) or .png"


class WrongWidth(UserError):
    def __init__(self, own: list[int], base: str, wanted: list[int]) -> None:
        has, wants = (" and ".join(map(str, widths)) for widths in (own, wanted))
        super().__init__(f"The word has vectors of {has} numbers, but {base} wants {wants}. Name its own base model.")


class NamedByItsFile(UserError):
    def __init__(self, path: Path, name: str) -> None:
        super().__init__(
            f"{path}: a word for SDXL has the name of its file, so '{name}' would be lost. "
            f"Write to {path.with_name(name + path.suffix)}."
        )


class BadName(UserError):
    def __init__(self, name: str) -> None:
        shown = name if len(name) <= 64 else f"{name[:64]}..."
        super().__init__(
            f"'{shown}' cannot be the name of a word. Wanted are 1 to 64 letters in lower case (diffusers finds no "
            "others), digits, '_', '-' and '.', a letter or digit first, such as 'snorf-x1'."
        )


class NoTokenTable(UserError):
    def __init__(self, folder: Path) -> None:
        super().__init__(f"{folder} holds no safetensors file with token embeddings. Give a model that has one.")


class NotAFolder(UserError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is not a folder. Give the folder that holds the embedding files.")


class WouldStop(UserError):
    def __init__(self, fail_on: str, number: int) -> None:
        super().__init__(
            f"{number} of these would stop the pipeline, as doctor.fail_on is {fail_on}. Mend them, or name their "
            "checks in doctor.ignore."
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 1, with one message on stderr, for what the user can mend."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except (UserError, OSError) as error:  # OSError: no room, no right to write
        print(printable(str(error)), file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pseudoword", description="Look at embedding files, convert and make them; review captions."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_inspect(commands.add_parser("inspect", help="what a file holds"))
    _add_convert(commands.add_parser("convert", help="write a word in another format"))
    _add_list(commands.add_parser("list", help="which files of a folder are words for a base model"))
    _add_create(commands.add_parser("create", help="start a word from words that the base model knows"))
    _add_review(commands.add_parser("review", help="read, edit and approve the captions on a local web page"))
    _add_doctor(commands.add_parser("doctor", help="what speaks against your pictures, before anything was run"))
    return parser


def _add_inspect(parser: argparse.ArgumentParser) -> None:
    parser.description = "Name, vectors, norms, the nearest words of the vocabulary, and where the word comes from."
    parser.set_defaults(command=inspect)
    parser.add_argument("file", type=Path)
    _add_base(parser, f"; without it {TOYWORLD} where it fits")


def _add_convert(parser: argparse.ArgumentParser) -> None:
    parser.description = "Read a word of any format and write it in another."
    parser.set_defaults(command=convert)
    parser.add_argument("file", type=Path, metavar="IN")
    parser.add_argument("out", type=Path, metavar="OUT", help=OUT)
    parser.add_argument("--picture", type=Path, help="what a .png shows; without it a plain card")
    parser.add_argument("--word", help="which word of a file that holds several")
    parser.add_argument("--name", help="what the word is called from now on")
    _add_base(parser, ", to tell whether it knows NAME as a word")
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")


def _add_list(parser: argparse.ArgumentParser) -> None:
    parser.description = "Every embedding file of a folder: loaded, or skipped and why."
    parser.set_defaults(command=list_folder)
    parser.add_argument("folder", type=Path, metavar="DIR")
    _add_base(parser, "; words of another width are skipped")


def _add_create(parser: argparse.ArgumentParser) -> None:
    parser.description = "Write an untrained word that starts at the embeddings of a text."
    parser.set_defaults(command=create)
    parser.add_argument("name")
    parser.add_argument("out", type=Path, metavar="OUT", help=OUT)
    parser.add_argument("--vectors", type=_vectors, required=True, metavar="N", help="1 to 75")
    parser.add_argument("--init-text", required=True, metavar="TEXT", help="empty for zeros")
    _add_base(parser, "", required=True)
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it is there")


def _add_review(parser: argparse.ArgumentParser) -> None:
    parser.description = "A local web page of the pictures and their captions; run it in the project's folder."
    parser.set_defaults(command=review)
    parser.add_argument("--port", type=int, default=8642, help="0 takes any free one; default %(default)s")
    parser.add_argument(
        "--host", default="127.0.0.1", help="another address than this machine's own opens it to others"
    )
    parser.add_argument("--no-browser", action="store_true", help="only print the address")


def _add_doctor(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Check the pictures of data.folder in params.yaml as they are now, and outputs/captions.csv if it is of them. "
        "The exit status "
        "is 1 where the stage doctor would stop the pipeline."
    )
    parser.set_defaults(command=doctor)
    parser.add_argument("--data", type=Path, metavar="DIR", help="another folder")


def _add_base(parser: argparse.ArgumentParser, more: str, required: bool = False) -> None:
    wanted = f"folder, checkpoint file or hub id{more}"
    parser.add_argument("--base", type=_model, required=required, metavar="MODEL", help=wanted)
    parser.add_argument("--config", metavar="MODEL", help="for a file: folder or hub id with configs and tokenizers")


def _model(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("an empty text is no model")
    return text


def _vectors(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 75:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to 75")
    return int(text)


def inspect(options: argparse.Namespace) -> None:
    from pseudoword.formats.reading import read_embeddings

    # A base model that cannot be had or does not fit is told of before anything is.
    words = read_embeddings(options.file)
    for line in [line for word in words for line in _described(word, options.base, options.config)]:
        print(line)


def _described(embedding: "Embedding", base: str | None, config: str | None) -> Iterator[str]:
    count, width = embedding.vectors.shape
    yield f"name     {printable(embedding.name)}"
    yield f"vectors  {count}"
    yield f"width    {width}{'' if embedding.vectors_g is None else f' + {embedding.vectors_g.shape[1]} (SDXL)'}"
    yield f"norms    {_norms(embedding.vectors)}"
    if embedding.vectors_g is not None:
        yield f"norms_g  {_norms(embedding.vectors_g)}"
    if base or (embedding.vectors_g is None and _toyworld_fits(width)):
        yield from _nearest(_parts(embedding), base or TOYWORLD, config)
    for key, value in sorted(embedding.metadata.items()):
        yield f"  {printable(key)}: {printable(value[:MOST_SHOWN])}"


def _norms(vectors: "Tensor") -> str:
    return " ".join(f"{norm:.3f}" for norm in vectors.norm(dim=-1).tolist())


def _toyworld_fits(width: int) -> bool:
    there = Path(TOYWORLD, "model_index.json").is_file()
    return there and any(Path(TOYWORLD, "text_encoder").glob("*.safetensors")) and base_widths(TOYWORLD) == (width,)


def _parts(embedding: "Embedding") -> "list[Tensor]":
    return [embedding.vectors] if embedding.vectors_g is None else [embedding.vectors, embedding.vectors_g]


def _nearest(parts: "list[Tensor]", base: str, config: str | None) -> Iterator[str]:
    """The nearest words to the vectors of each text encoder, in its own vocabulary."""
    from pseudoword.word import vocabulary_norms

    vocabularies = _vocabularies(base, config)
    own, wanted = ([table.shape[1] for table in tables] for tables in (parts, [table for _, table in vocabularies]))
    if own != wanted:
        raise WrongWidth(own, base, wanted)
    for label, part, (tokenizer, table) in zip(("nearest", "nearest_g"), parts, vocabularies, strict=False):
        yield f"{label:8} in {printable(base)}, whose words have a norm of {vocabulary_norms([table])[0]:.3f}"
        for row, vector in enumerate(part):
            yield f"  {row}: {_nearest_words(vector, tokenizer, table)}"


def _nearest_words(vector: "Tensor", tokenizer: "CLIPTokenizer", table: "Tensor") -> str:
    from torch.nn.functional import cosine_similarity

    if not vector.any():
        return "none, as all its numbers are zero"
    nearest = cosine_similarity(table, vector.unsqueeze(0)).topk(NEAREST)
    words = tokenizer.convert_ids_to_tokens(nearest.indices.tolist())
    pairs = zip(words, nearest.values.tolist(), strict=True)
    return ", ".join(f"{printable(readable(word))} {cosine:.2f}" for word, cosine in pairs)


def readable(token: str) -> str:
    """CLIP's `cat</w>` as `cat`, and `ca`, which only begins a word, as `ca-`."""
    return token.removesuffix("</w>") if token.endswith("</w>") else f"{token}-"


def convert(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from pseudoword.formats.reading import read_embedding
    from pseudoword.formats.writing import check_target, write_embedding

    check_target(options.out, options.overwrite)
    embedding = read_embedding(options.file, options.word)
    if options.name is not None:
        embedding = replace(embedding, name=options.name)
    if embedding.vectors_g is not None:
        if options.name is not None:
            _check_file_name(options.out, options.name)
        embedding = replace(embedding, name=options.out.stem)
    if options.base is not None:
        _warn_of_known(embedding.name, options.base, options.config)
    write_embedding(options.out, embedding, options.picture, options.overwrite)
    print(f"{options.out}: {_summary(embedding)}")
    _warn_of_stem(options.out, embedding.name)


def _warn_of_known(name: str, base: str, config: str | None) -> None:
    from transformers import CLIPTokenizer

    from pseudoword.base.identity import ModelIdentity
    from pseudoword.word import NameTaken, check_name

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


def list_folder(options: argparse.Namespace) -> None:
    from pseudoword.formats.reading import EXTENSIONS

    if not options.folder.is_dir():
        raise NotAFolder(options.folder)
    widths = base_widths(options.base, options.config) if options.base else None
    taken: dict[str, Path] = {}
    for path in sorted(options.folder.rglob("*")):
        # `cat.preview.png` shows what `cat.pt` draws.
        if path.is_file() and path.suffix.lower() in EXTENSIONS and not path.stem.lower().endswith(".preview"):
            _list_file(path, widths, taken)


def _list_file(path: Path, widths: tuple[int, ...] | None, taken: dict[str, Path]) -> None:
    """Print a line for each word of the file; `taken` gains the names of those that are loaded."""
    from pseudoword.formats.embedding import BadEmbedding
    from pseudoword.formats.reading import read_embeddings

    try:
        embeddings = read_embeddings(path)
    except BadEmbedding as error:
        print(f"skipped  {printable(f'{path}: {error.found}')}")
        return
    for embedding in embeddings:
        reason = _reason_to_skip(embedding, widths, taken)
        print(f"{'skipped' if reason else 'loaded '}  {printable(str(path))}: {reason or _summary(embedding)}")
        if not reason:
            taken[embedding.name.lower()] = path


def _reason_to_skip(embedding: "Embedding", widths: tuple[int, ...] | None, taken: dict[str, Path]) -> str:
    own = tuple(part.shape[1] for part in _parts(embedding))
    if widths is not None and len(own) != len(widths):
        return f"it is {'not ' if len(own) == 1 else ''}for SDXL"
    if widths is not None and own != widths:
        numbers, wanted = (" and ".join(map(str, each)) for each in (own, widths))
        return f"its vectors have {numbers} numbers, the base model wants {wanted}"
    if (clash := taken.get(embedding.name.lower())) is not None:  # A1111 does not look at the case
        return printable(f"its name '{embedding.name}' is that of {clash}")
    return ""


def create(options: argparse.Namespace) -> None:
    from pseudoword.formats.embedding import Embedding
    from pseudoword.formats.writing import check_target, write_embedding
    from pseudoword.word import check_name, initial_vectors, left_out

    check_target(options.out, options.overwrite)
    _check_word_name(options.name)
    vocabularies = _vocabularies(options.base, options.config)
    near = check_name(options.name, vocabularies[0][0])
    if len(vocabularies) > 1:
        _check_file_name(options.out, options.name)
    start = [
        initial_vectors(options.init_text, options.vectors, [table], [tokenizer]) for tokenizer, table in vocabularies
    ]
    origin = {"pseudoword.init_text": options.init_text, "pseudoword.base_model": options.base, "pseudoword.step": "0"}
    embedding = Embedding(options.name, start[0], origin, *start[1:])
    write_embedding(options.out, embedding, overwrite=options.overwrite)
    print(f"{options.out}: {_summary(embedding)}")
    if lost := left_out(options.init_text, options.vectors, vocabularies[0][0]):
        _warn(lost)
    _warn_of_near(options.name, near, options.base)
    _warn_of_stem(options.out, options.name)


def _check_word_name(name: str) -> None:
    from pydantic import TypeAdapter, ValidationError

    from pseudoword.settings.word import WordName

    try:
        TypeAdapter(WordName).validate_python(name)
    except ValidationError:
        raise BadName(name) from None


def review(options: argparse.Namespace) -> None:
    from pseudoword.base.families import UnknownFamily
    from pseudoword.base.identity import ModelIdentity
    from pseudoword.base.location import ModelNotFound
    from pseudoword.captions.prompt_length import load_prompt_length
    from pseudoword.pictures.ids import count_unmirrored
    from pseudoword.pictures.prepared import used_ids
    from pseudoword.review.desk import Desk
    from pseudoword.review.server import reviewer, serve
    from pseudoword.settings.loading import load_settings
    from pseudoword.settings.sweep import runs

    settings = load_settings()
    words = [run.word for run in runs(settings).values()]
    try:
        length = load_prompt_length(
            ModelIdentity(settings.base.model, settings.base.revision, settings.base.config),
            settings.train.template.lines,
            settings.word.name, [word.vectors for word in words], count_unmirrored(used_ids()),
            windowed=settings.train.long_prompts == "window",
        )  # fmt: skip
    except (ModelNotFound, UnknownFamily) as error:
        print(f"note: tokens are not counted: {printable(str(error))}")
        length = None
    curate, texts = settings.curate, [word.init_text for word in words]
    desk = Desk(settings.data.folder, curate.existing, curate.subject, settings.word.name, texts, length, reviewer())
    serve(desk, options.host, options.port, not options.no_browser)


def doctor(options: argparse.Namespace) -> None:
    from dataclasses import replace

    from pseudoword.base.placement import resolve_device
    from pseudoword.doctor.examine import examine
    from pseudoword.doctor.intent import Intent
    from pseudoword.doctor.machine import this_machine
    from pseudoword.doctor.report import summary
    from pseudoword.settings.loading import load_settings

    settings = load_settings()
    intent = Intent.of(settings.data, settings.base, settings.preprocess, settings.word, settings.train, settings.sweep)
    if options.data is not None:
        intent = replace(intent, folder=options.data)
    machine, own = this_machine(resolve_device(settings.base.device)), settings.doctor
    print(printable(f"reads {intent.folder}, with each picture as preprocess would make it"))
    report = examine(intent, machine, own.same_background, own.ignore, written=False)
    for line in summary(report).splitlines():
        print(printable(line))
    if bad := report.at_least(own.fail_on):
        raise WouldStop(own.fail_on, len(bad))


def _summary(embedding: "Embedding") -> str:
    count, width = embedding.vectors.shape
    second = "" if embedding.vectors_g is None else f" and {embedding.vectors_g.shape[1]}"
    vectors = "vector" if count == 1 else "vectors"
    return f"'{printable(embedding.name)}', {count} {vectors} of {width}{second} numbers"


def _encoders(folder: Path) -> list[str]:
    """What the names of its text encoder and tokenizer end in: SDXL has a second one of each."""
    return ["", "_2"] if (folder / "text_encoder_2").is_dir() else [""]


def base_widths(base: str, config: str | None = None) -> tuple[int, ...]:
    """Numbers in a token embedding of each text encoder of the base model, from its configs alone."""
    from pseudoword.base.identity import ModelIdentity
    from pseudoword.base.location import read_config

    folder = ModelIdentity(base, config=config).configs
    return tuple(int(read_config(folder, f"text_encoder{end}/config.json")["hidden_size"]) for end in _encoders(folder))


def _vocabularies(base: str, config: str | None) -> "list[tuple[CLIPTokenizer, Tensor]]":
    """Of each text encoder the tokenizer and the (vocabulary, D) float32 token embeddings, without loading the model.

    Raises UserError.
    """
    from transformers import CLIPTokenizer

    from pseudoword.base.identity import ModelIdentity
    from pseudoword.base.single_file import BadCheckpoint, token_tables

    model = ModelIdentity(base, config=config)
    place, folder = model.place, model.configs
    ends = _encoders(folder)
    tables = token_tables(place) if place.is_file() else [_table_in(folder / f"text_encoder{end}") for end in ends]
    if len(tables) != len(ends):
        raise BadCheckpoint(place, f"it holds {len(tables)} of the {len(ends)} token tables that {folder} speaks of")
    return [
        (CLIPTokenizer.from_pretrained(folder / f"tokenizer{end}"), table)
        for end, table in zip(ends, tables, strict=True)
    ]


def _table_in(encoder: Path) -> "Tensor":
    files = sorted(encoder.glob("*.safetensors"), key=lambda path: ".fp16." in path.name)
    tables = (table for path in files if (table := _token_table(path)) is not None)
    if (table := next(tables, None)) is None:
        raise NoTokenTable(encoder)
    return table


def _token_table(path: Path) -> "Tensor | None":
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            found = [key for key in file.keys() if key.endswith("token_embedding.weight")]  # noqa: SIM118 -- no dict
            return file.get_tensor(found[0]).float() if found else None
    except SafetensorError:
        return None


def printable(text: str) -> str:
    """Text of a file with control characters written out, so that none of them reaches the terminal."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
