"""export: the chosen word as a file that other tools read.

reads   outputs/evaluation/choice.json         which checkpoint was chosen
        outputs/words/<run>/steps/*            the checkpoint
        outputs/words/<run>/settings.json      what it was trained with
writes  outputs/embedding/<word>.safetensors   the word, with ModelSpec fields and its provenance
"""

from pathlib import Path

from pseudoword.errors import UserError
from pseudoword.formats.embedding import Embedding, load_embedding, save_embedding
from pseudoword.formats.modelspec import modelspec
from pseudoword.records import Choice, RunRecord, read_record
from pseudoword.settings import load_settings
from stages._runtime import run_stage

CHOICE, WORDS, EMBEDDING = Path("outputs/evaluation/choice.json"), Path("outputs/words"), Path("outputs/embedding")


class OtherWord(UserError):
    def __init__(self, path: Path, found: str, wanted: str) -> None:
        super().__init__(f"{path} holds the word '{found}', but word.name is '{wanted}'. Run `dvc repro`.")


class StrayCheckpoint(UserError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{CHOICE} names the checkpoint {path}, which is not in {WORDS}. Run `dvc repro evaluate`.")


def main() -> None:
    settings = load_settings()
    word = settings.word.name
    choice = read_record(CHOICE, Choice)
    if choice.word != word:
        raise OtherWord(CHOICE, choice.word, word)
    checkpoint = _checkpoint(choice.file, word)
    run = read_record(WORDS / choice.run / "settings.json", RunRecord)
    path = EMBEDDING / f"{word}.safetensors"
    save_embedding(path, word, checkpoint.vectors, describe(checkpoint, choice, run))
    print(how_to_use(path, word, *checkpoint.vectors.shape))


def _checkpoint(path: Path, word: str) -> Embedding:
    """The chosen checkpoint, after a check that it lies among ours and is of this word."""
    if not path.resolve().is_relative_to(WORDS.resolve()):
        raise StrayCheckpoint(path)
    checkpoint = load_embedding(path)
    if checkpoint.name != word:
        raise OtherWord(path, checkpoint.name, word)
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
        "pictures": run.pictures,
        "init_text": run.settings.get("word", {}).get("init_text", ""),
        "seed": run.settings.get("train", {}).get("seed", ""),
        "base_model": run.model.name,
        "base_sha256": run.model.sha256,
        "loss": choice.loss,
        "image_similarity": choice.image_similarity,
        "text_similarity": choice.text_similarity,
    }
    stated = {f"pseudoword.{key}": str(value) for key, value in provenance.items() if value not in ("", None)}
    return modelspec(choice.word, run.model.family, run.model.resolution, summary) | stated


def how_to_use(path: Path, word: str, num_vectors: int, width: int) -> str:
    lines = [
        f"{path}: {num_vectors} {'vector' if num_vectors == 1 else 'vectors'} of {width} numbers",
        f'diffusers:  pipe.load_textual_inversion("{path}"), then write {word} in the prompt',
        f"A1111:      copy the file to embeddings/, then write {word} in the prompt; the file's name is the trigger",
    ]
    if num_vectors > 1:
        lines.append(
            f"One {word} stands for all {num_vectors} vectors and takes {num_vectors} of a prompt's 75 tokens. "
            f"diffusers names them {word}, {word}_1, ... and expands {word} by itself; do not write the others."
        )
    return "\n".join(lines)


if __name__ == "__main__":
    run_stage(main)
