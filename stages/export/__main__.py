"""export: the chosen word as files that other tools read.

reads   outputs/evaluation/choice.json         which checkpoint was chosen
        outputs/evaluation/sheets/*            its best picture, for the PNG
        outputs/words/<run>/steps/*            the checkpoint
        outputs/words/<run>/settings.json      what it was trained with
writes  outputs/embedding/<word>.<format>      the word in each of export.formats; equal inputs give equal bytes
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pseudoword.errors import UserError
from pseudoword.formats.hypernetwork import EXTENSIONS as HYPERNETWORK_SUFFIXES
from pseudoword.formats.hypernetwork import save_hypernetwork
from pseudoword.formats.modelspec import modelspec
from pseudoword.formats.writing import write_embedding
from pseudoword.hypernetwork import Hypernetwork
from pseudoword.learned import Learned, read_learned
from pseudoword.records import Choice, RunRecord, read_record
from pseudoword.results.places import CHOICE, EMBEDDING, WORDS
from pseudoword.settings.export import Export
from pseudoword.settings.stage import StageSettings
from pseudoword.settings.word import Word
from stages._runtime import run_stage
from stages.export.portrait import best_picture
from stages.export.usage import how_to_use, how_to_use_hypernetwork


class Settings(StageSettings):
    word: Word
    export: Export


class OtherWord(UserError):
    def __init__(self, path: Path, found: str, wanted: str) -> None:
        super().__init__(f"{path} holds the word '{found}', but word.name is '{wanted}'. Run `dvc repro`.")


class NoFormatForHypernetworks(UserError):
    def __init__(self, formats: Sequence[str]) -> None:
        super().__init__(
            f"export.formats: found {', '.join(formats)}, and a hypernetwork is written as safetensors or pt. Add one."
        )


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
    learned = replace(checkpoint, name=word, metadata=describe(checkpoint, choice, run))
    files = [EMBEDDING / f"{word}.{kind}" for kind in formats]
    if isinstance(learned, Hypernetwork):
        files = [path for path in files if path.suffix in HYPERNETWORK_SUFFIXES]
        if not files:
            raise NoFormatForHypernetworks(formats)
        shutil.rmtree(EMBEDDING, ignore_errors=True)
        for path in files:
            save_hypernetwork(path, learned)
        print(how_to_use_hypernetwork(files, learned))
        return
    picture = best_picture(choice) if "png" in formats else None
    shutil.rmtree(EMBEDDING, ignore_errors=True)  # as dvc does before a stage: no format of an earlier setting stays
    for path in files:
        write_embedding(path, learned, picture if path.suffix == ".png" else None, key=settings.export.key)
    print(how_to_use(files, word, learned, settings.export.key))


def _checkpoint(path: Path, word: str) -> Learned:
    """The chosen checkpoint, after a check that it lies among ours and is of this word."""
    if not path.resolve().is_relative_to(WORDS.resolve()):
        raise StrayCheckpoint(path)
    checkpoint = read_learned(path)
    # A word for SDXL and a hypernetwork are named by their file alone, here <word>-<update>.
    by_file = isinstance(checkpoint, Hypernetwork) or checkpoint.vectors_g is not None
    name = path.stem.rpartition("-")[0] if by_file else checkpoint.name
    if name != word:
        raise OtherWord(path, name, word)
    return checkpoint


def describe(checkpoint: Learned, choice: Choice, run: RunRecord) -> dict[str, str]:
    """ModelSpec fields for other tools and `pseudoword.*` for whoever asks how the word came about."""
    summary = f"Learned from {run.pictures} pictures in {choice.step} updates on {run.model.name}."
    provenance = {
        "version": run.versions.get("pseudoword", ""),
        "run": choice.run,
        "step": choice.step,
        **_extent(checkpoint),
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
    if isinstance(checkpoint, Hypernetwork):  # ModelSpec has no kind for it
        kept = {"weight_initialization": checkpoint.metadata.get("weight_initialization", "")}
        return {key: value for key, value in kept.items() if value} | stated
    return modelspec(choice.word, run.model.family, run.model.resolution, summary) | stated


def _extent(checkpoint: Learned) -> dict[str, object]:
    if isinstance(checkpoint, Hypernetwork):
        return {"widths": ", ".join(map(str, checkpoint.widths))}
    width_g = "" if checkpoint.vectors_g is None else checkpoint.vectors_g.shape[1]
    return {"vectors": len(checkpoint.vectors), "width": checkpoint.vectors.shape[1], "width_g": width_g}


if __name__ == "__main__":
    run_stage(main)
