"""export: the chosen word as files that other tools read.

reads   outputs/evaluation/choice.json         which checkpoint was chosen
        outputs/evaluation/sheets/*            its best picture, for the PNG
        outputs/words/<run>/steps/*            the checkpoint
        outputs/words/<run>/settings.json      what it was trained with
writes  outputs/embedding/<word>.<format>      the word in each of export.formats; equal inputs give equal bytes
"""

import shutil
from pathlib import Path

from pseudoword.errors import UserError
from pseudoword.formats.embedding import Embedding
from pseudoword.formats.modelspec import modelspec
from pseudoword.formats.reading import read_embedding
from pseudoword.formats.writing import write_embedding
from pseudoword.records import Choice, RunRecord, read_record
from pseudoword.results.places import CHOICE, EMBEDDING, WORDS
from pseudoword.settings.export import Export
from pseudoword.settings.stage import StageSettings
from pseudoword.settings.word import Word
from stages._runtime import run_stage
from stages.export.portrait import best_picture
from stages.export.usage import how_to_use


class Settings(StageSettings):
    word: Word
    export: Export


class OtherWord(UserError):
    def __init__(self, path: Path, found: str, wanted: str) -> None:
        super().__init__(f"{path} holds the word '{found}', but word.name is '{wanted}'. Run `dvc repro`.")


class StrayCheckpoint(UserError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{CHOICE} names the checkpoint {path}, which is not in {WORDS}. Run `dvc repro evaluate`.")


def main() -> None:
    settings = Settings.read("export")
    word, formats = settings.word.name, settings.export.formats
    choice = read_record(CHOICE, Choice)
    if choice.word != word:
        raise OtherWord(CHOICE, choice.word, word)
    checkpoint = _checkpoint(choice.file, word)
    run = read_record(WORDS / choice.run / "settings.json", RunRecord)
    picture = best_picture(choice) if "png" in formats else None
    embedding = Embedding(word, checkpoint.vectors, describe(checkpoint, choice, run), checkpoint.vectors_g)
    shutil.rmtree(EMBEDDING, ignore_errors=True)  # as dvc does before a stage: no format of an earlier setting stays
    files = [EMBEDDING / f"{word}.{kind}" for kind in formats]
    for path in files:
        write_embedding(path, embedding, picture if path.suffix == ".png" else None, key=settings.export.key)
    print(how_to_use(files, word, embedding, settings.export.key))


def _checkpoint(path: Path, word: str) -> Embedding:
    """The chosen checkpoint, after a check that it lies among ours and is of this word."""
    if not path.resolve().is_relative_to(WORDS.resolve()):
        raise StrayCheckpoint(path)
    checkpoint = read_embedding(path)
    # A word for SDXL is named by its file alone, here <word>-<update>.
    name = checkpoint.name if checkpoint.vectors_g is None else path.stem.rpartition("-")[0]
    if name != word:
        raise OtherWord(path, name, word)
    return checkpoint


def describe(checkpoint: Embedding, choice: Choice, run: RunRecord) -> dict[str, str]:
    """ModelSpec fields for other tools and `pseudoword.*` for whoever asks how the word came about."""
    num_vectors, width = checkpoint.vectors.shape
    summary = f"Learned from {run.pictures} pictures in {choice.step} updates on {run.model.name}."
    provenance = {
        "version": run.versions.get("pseudoword", ""),
        "run": choice.run,
        "step": choice.step,
        "vectors": num_vectors,
        "width": width,
        "width_g": "" if checkpoint.vectors_g is None else checkpoint.vectors_g.shape[1],
        "pictures": run.pictures,
        "init_text": run.settings.get("word", {}).get("init_text", ""),
        "init_file": run.settings.get("word", {}).get("init_file", ""),
        "seed": run.settings.get("train", {}).get("seed", ""),
        "base_model": run.model.name,
        "base_sha256": run.model.sha256,
        "base_commit": run.model.commit,
        "loss": choice.loss,
        "image_similarity": choice.image_similarity,
        "text_similarity": choice.text_similarity,
    }
    stated = {f"pseudoword.{key}": str(value) for key, value in provenance.items() if value not in ("", None)}
    return modelspec(choice.word, run.model.family, run.model.resolution, summary) | stated


if __name__ == "__main__":
    run_stage(main)
