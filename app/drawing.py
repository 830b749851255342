"""`pseudoword draw`: prompts over checkpoints and models as one sheet, the same noise in each row.

Writes a PNG and a self-contained page beside it, which no stage reads.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pseudoword.base.identity import ModelIdentity
from pseudoword.base.loading import load_base
from pseudoword.base.placement import resolve_device, resolve_precision
from pseudoword.base.vocabulary import base_widths, read_vocabularies
from pseudoword.captions.table import read_captions
from pseudoword.draws import Stream, generator
from pseudoword.errors import UserError
from pseudoword.files import save_with, sha256_of, write_text
from pseudoword.fingerprint import fingerprint
from pseudoword.formats.embedding import Embedding
from pseudoword.formats.reading import Learned, read_embedding, read_learned
from pseudoword.formats.writing import AlreadyThere
from pseudoword.hypernetwork import Hypernetwork
from pseudoword.learned import AtWork
from pseudoword.pictures.prepared import open_pictures, used_ids
from pseudoword.progress import Bar
from pseudoword.prompts import PromptTooLong, Vocabulary, fill
from pseudoword.records import Choice, RunRecord, read_record
from pseudoword.results.html import environment
from pseudoword.results.images import data_uri, fitted
from pseudoword.results.places import CHOICE, WORDS, checkpoint_files
from pseudoword.settings.loading import Settings, load_settings
from pseudoword.settings.train import PreviewSettings
from pseudoword.templates import NAME
from stages._runtime import alone_on

FOLDER = Path("outputs/drawn")
LATENT_PX_AT_ONCE = 4 * 64 * 64  # sixteen pictures of 256 px, four of 512
MIN_CELL_PX, GAP_PX, LABEL_PX, CAPTION_PX = 160, 6, 16, 240
TEMPLATES = Path("templates/draw")


class NothingToDraw(UserError):
    pass


class NoSuchCheckpoint(UserError):
    def __init__(self, run: str, missing: list[int], there: list[int]) -> None:
        super().__init__(
            f"--checkpoints: run '{run}' has none after {' and '.join(map(str, missing))} steps; "
            f"there are {', '.join(map(str, there))}."
        )


class NoSuchRun(UserError):
    def __init__(self, problem: str, there: list[str]) -> None:
        super().__init__(f"--run: {problem}; there are {', '.join(there)}.")


class WrongWidths(UserError):
    def __init__(self, file: Path, widths: tuple[int, ...], model: str, wanted: tuple[int, ...]) -> None:
        has, wants = (" and ".join(map(str, each)) for each in (widths, wanted))
        super().__init__(f"{file} has vectors of {has} numbers; {model} takes {wants}. Give a model of its family.")


class TooLong(UserError):
    def __init__(self, error: PromptTooLong, model: str, what: str) -> None:
        super().__init__(f"The prompt '{error.shown}' {error.takes}; {model} reads {error.limit}. Shorten {what}.")


@dataclass(frozen=True)
class Row:
    """A prompt with [name] filled in, drawn from one noise; `picture` is the one whose caption it is."""

    prompt: str
    seed: int
    place: int  # of the prompt
    picture: str | None = None


@dataclass(frozen=True)
class Column:
    """A checkpoint on a base model."""

    label: str
    model: ModelIdentity
    file: Path
    windows: int

    @cached_property
    def learned(self) -> Learned:
        return read_learned(self.file)


def draw(
    prompts: Sequence[str], checkpoints: Sequence[int] | None, run: str | None, models: Sequence[str],
    beside: Sequence[Path], negative: str, captions: bool, seeds: int, out: Path | None, overwrite: bool = False,
) -> None:  # fmt: skip
    """Draw and write the sheet, and print where. All that can be wrong is told before a model loads. Raises UserError.

    models   base models besides that of the project
    beside   embedding files whose words the prompts may hold, by their names
    """
    for taken in () if out is None or overwrite else (out, out.with_suffix(".html")):
        if taken.exists():
            raise AlreadyThere(taken)
    settings = load_settings()
    record, files = _checkpoints(run, checkpoints)
    others = [read_embedding(path) for path in beside]
    columns = list(_columns(settings, record, files, models))
    rows = list(_rows(settings.word.name, prompts, captions, seeds, record))
    check(settings.word.name, rows, columns, dict(zip(beside, others, strict=True)), negative)
    shown = list(dict.fromkeys(row.picture for row in rows if row.picture))
    training = dict(zip(shown, open_pictures(shown), strict=True))
    out = out or FOLDER / f"{settings.word.name}-{_key(settings, rows, columns, beside, negative)}.png"
    drawn = _draw_all(settings, rows, columns, others, negative)
    pictures: list[Sequence[Image.Image | None]] = [*drawn]
    note = f"The same noise in each row. {_how(settings.train.preview)}"
    note += f" Negative prompt: {negative}" if negative else ""
    labels = [column.label for column in columns]
    if training:
        labels = ["training picture", *labels]
        pictures = [[training.get(row.picture or ""), *cells] for row, cells in zip(rows, pictures, strict=True)]
    save_with(out, partial(sheet(labels, rows, pictures).save, format="png"))
    write_text(out.with_suffix(".html"), page(settings.word.name, note, labels, rows, pictures))
    print(f"{out}\n{out.with_suffix('.html')}")


def _checkpoints(run: str | None, steps: Sequence[int] | None) -> tuple[RunRecord, dict[int, Path]]:
    """The run and its checkpoints by their steps: those asked for, else the choice, else the last one."""
    runs = sorted(path.parent.name for path in WORDS.glob("*/settings.json"))
    if not runs:
        raise NothingToDraw(f"{WORDS} holds no checkpoints. Run `dvc repro train`.")
    choice = read_record(CHOICE, Choice) if CHOICE.is_file() else None
    if choice is not None and choice.run not in runs:
        choice = None
    name = run or (choice.run if choice else runs[0])
    if name not in runs:
        raise NoSuchRun(f"no run '{name}'", runs)
    if run is None and choice is None and len(runs) > 1:
        raise NoSuchRun("several runs, and none is chosen yet", runs)
    found = checkpoint_files(WORDS / name)
    wanted = list(steps) if steps else [choice.step if choice and choice.run == name else max(found, default=0)]
    if missing := [step for step in wanted if step not in found]:
        raise NoSuchCheckpoint(name, missing, sorted(found))
    return read_record(WORDS / name / "settings.json", RunRecord), {step: found[step] for step in wanted}


def _columns(settings: Settings, record: RunRecord, files: dict[int, Path], models: Sequence[str]) -> Iterator[Column]:
    base = settings.base
    mine = ModelIdentity(base.model, base.revision, base.config, base.vae)
    for model in [mine, *(ModelIdentity(other) for other in models)]:
        for step, file in files.items():
            where = f", {model.name}" if models else ""
            yield Column(f"{step} steps{where}", model, file, record.windows)


def _rows(name: str, prompts: Sequence[str], captions: bool, seeds: int, record: RunRecord) -> Iterator[Row]:
    filled: list[tuple[str, str | None]] = [(fill(prompt, name), None) for prompt in prompts]
    if captions:
        ids = used_ids()
        filled += [
            (fill(record.templates[0], name, caption), identity)
            for identity, caption in zip(ids, read_captions(ids), strict=True)
        ]
    if not filled:
        raise NothingToDraw(f"there is no prompt. Give some, such as 'a {NAME} in the snow', or --captions.")
    for place, (prompt, picture) in enumerate(filled):
        yield from (Row(prompt, seed, place, picture) for seed in range(seeds))


def check(
    name: str, rows: Sequence[Row], columns: Sequence[Column], beside: dict[Path, Embedding], negative: str
) -> None:
    """Raise UserError for what would go wrong once the models are loaded."""
    texts = {row.prompt: "the caption, or leave out --captions" if row.picture else "it" for row in rows}
    texts |= {negative: "--negative"}
    if not any(isinstance(column.learned, Hypernetwork) for column in columns):
        for row in rows:
            if not _holds(row.prompt, name):
                raise NothingToDraw(f"'{row.prompt}' holds neither {NAME} nor '{name}', so all would be drawn alike.")
    _check_words(name, list(texts), beside)
    for model in _models(columns):
        of_model = [column for column in columns if column.model is model]
        with _by_its_option(model, columns):
            _check_widths(model, [*((column.file, column.learned) for column in of_model), *beside.items()])
        _check_lengths(name, texts, of_model, list(beside.values()))


def _check_words(name: str, texts: Sequence[str], beside: dict[Path, Embedding]) -> None:
    taken = {name}
    for path, embedding in beside.items():
        if (word := embedding.name.lower()) in taken:
            raise NothingToDraw(f"--with {path}: its word '{embedding.name}' has the name of another one here.")
        taken.add(word)
        if not any(_holds(text, word) for text in texts):
            raise NothingToDraw(f"--with {path}: no prompt holds its word '{embedding.name}', nor does --negative.")


def _check_widths(model: ModelIdentity, words: Sequence[tuple[Path, Learned]]) -> None:
    wanted = base_widths(model.name, model.config)
    for file, learned in words:
        if isinstance(learned, Embedding):
            parts = [part for part in (learned.vectors, learned.vectors_g) if part is not None]
            if (widths := tuple(part.shape[1] for part in parts)) != wanted:
                raise WrongWidths(file, widths, model.name, wanted)


def _check_lengths(name: str, texts: Mapping[str, str], columns: Sequence[Column], beside: Sequence[Embedding]) -> None:
    """`texts`: what would be shortened, by prompt. Raises TooLong."""
    model = columns[0].model
    tokenizers = [tokenizer for tokenizer, _ in read_vocabularies(model.name, model.config)]
    lengths = {embedding.name: len(embedding.vectors) for embedding in beside}
    for column in columns:
        vectors = len(column.learned.vectors) if isinstance(column.learned, Embedding) else 0
        vocabulary = Vocabulary(tokenizers, [0] * len(tokenizers), name, vectors, column.windows, lengths)
        for text, what in texts.items():
            try:
                vocabulary.encode(text)
            except PromptTooLong as error:
                raise TooLong(error, model.name, what) from None


@contextmanager
def _by_its_option(model: ModelIdentity, columns: Sequence[Column]) -> Iterator[None]:
    """What is wrong with a model of --base is told as such: only the first one is that of base.model."""
    try:
        yield
    except UserError as error:
        if model is columns[0].model:
            raise
        raise NothingToDraw(re.sub(r"^base\.\w+:", "--base:", str(error))) from error


def _models(columns: Sequence[Column]) -> list[ModelIdentity]:
    return list({id(column.model): column.model for column in columns}.values())


def _holds(text: str, name: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE) is not None


def _draw_all(
    settings: Settings, rows: Sequence[Row], columns: Sequence[Column], beside: Sequence[Embedding], negative: str
) -> list[list[Image.Image]]:
    """By row and column."""
    device = resolve_device(settings.base.device)
    drawn: list[list[Image.Image]] = [[] for _ in rows]
    with alone_on(device):
        for model in _models(columns):
            precision = resolve_precision(settings.base.precision, device)
            with _by_its_option(model, columns):
                base = load_base(model, device, precision, settings.base.clip_skip, settings.base.attention)
            preview = settings.train.preview
            native = columns[0].model.resolution
            height, width = (native if side == "auto" else int(side) for side in (preview.height, preview.width))
            shape = base.latent_shape(height, width)
            of_model = [column for column in columns if column.model is model]
            for column in Bar("draw", of_model, label=model.name, unit="checkpoint"):
                work = AtWork(base, column.learned, settings.word.name, column.windows, beside=beside)
                for row, picture in zip(drawn, _draw(work, rows, negative, shape, preview), strict=True):
                    row.append(picture)
    return drawn


@torch.no_grad()
def _draw(
    work: AtWork, rows: Sequence[Row], negative: str, shape: tuple[int, int, int], preview: PreviewSettings
) -> Iterator[Image.Image]:
    without = work.condition(work.tokens([negative])) if negative else None
    batch = max(1, LATENT_PX_AT_ONCE // (shape[1] * shape[2]))
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        noise = np.stack([_noise(shape, preview.seed, row) for row in part])
        prompted = work.condition(work.tokens([row.prompt for row in part]))
        yield from work.base.draw(
            prompted, without, torch.from_numpy(noise), preview.inference_steps, preview.guidance, preview.sampler
        )


def _noise(shape: tuple[int, int, int], seed: int, row: Row) -> NDArray[np.float32]:
    return generator(seed, Stream.PICTURE, row.place, row.seed).standard_normal(shape, np.float32)


def _how(preview: PreviewSettings) -> str:
    steps, guidance = preview.inference_steps, preview.guidance
    return f"{steps} steps of {preview.sampler}, guidance {guidance:g}, as train.preview says."


def _key(
    settings: Settings, rows: Sequence[Row], columns: Sequence[Column], beside: Sequence[Path], negative: str
) -> str:
    """A name for what is asked for, so that another question does not overwrite the answer to this one."""
    base, preview = settings.base, settings.train.preview
    models = [(model, model.sha256, model.configs_sha256) for model in _models(columns)]
    files = [sha256_of(file) for file in (*(column.file for column in columns), *beside)]
    asked = [[(row.prompt, row.seed) for row in rows], models, files, negative, preview, base.clip_skip, base.precision]
    return fingerprint(asked, ())[:8]


def sheet(labels: Sequence[str], rows: Sequence[Row], pictures: Sequence[Sequence[Image.Image | None]]) -> Image.Image:
    """All pictures as one, the labels above and the prompts at the left; small ones are enlarged smoothly."""
    width, height = next(picture.size for picture in reversed(pictures[0]) if picture)
    scale = max(1, -(-MIN_CELL_PX // max(width, height)))
    cell = (width * scale, height * scale)
    font = ImageFont.load_default(LABEL_PX - 3)
    left, top = CAPTION_PX + GAP_PX, 3 * LABEL_PX
    image = Image.new("RGB", (left + len(labels) * (cell[0] + GAP_PX), top + len(rows) * (cell[1] + GAP_PX)), "white")
    pen = ImageDraw.Draw(image)
    for i, label in enumerate(labels):
        text = _wrapped(label, cell[0], font, lines=3)
        pen.multiline_text((left + i * (cell[0] + GAP_PX), 2), text, "black", font, spacing=2)
    for j, (row, drawn) in enumerate(zip(rows, pictures, strict=True)):
        y = top + j * (cell[1] + GAP_PX)
        text = _wrapped(row.prompt, CAPTION_PX - GAP_PX, font, lines=cell[1] // LABEL_PX)
        pen.multiline_text((GAP_PX, y), text, "black", font, spacing=2)
        for i, picture in enumerate(drawn):
            if picture is not None:
                image.paste(fitted(picture, *cell), (left + i * (cell[0] + GAP_PX), y))
    return image


def _wrapped(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, lines: int) -> str:
    """The text in lines of at most so many px; what is too long for that many lines ends with dots."""
    wrapped = [""]
    for word in text.split():
        longer = f"{wrapped[-1]} {word}".strip()
        if wrapped[-1] and font.getlength(longer) > width:
            wrapped.append(word)
        else:
            wrapped[-1] = longer
    return "\n".join(wrapped[:lines] if len(wrapped) <= lines else [*wrapped[: lines - 1], "..."])


def page(
    title: str,
    note: str,
    labels: Sequence[str],
    rows: Sequence[Row],
    pictures: Sequence[Sequence[Image.Image | None]],
) -> str:
    """The same as HTML, the pictures inside."""
    cells = [
        (row.prompt, [(label, picture and _uri(picture)) for label, picture in zip(labels, drawn, strict=True)])
        for row, drawn in zip(rows, pictures, strict=True)
    ]
    template = environment(TEMPLATES).get_template("index.html.j2")
    return template.render(title=title, note=note, labels=labels, rows=cells)


def _uri(picture: Image.Image) -> str:
    content = BytesIO()
    picture.save(content, "PNG")
    return data_uri("image/png", content.getvalue())
