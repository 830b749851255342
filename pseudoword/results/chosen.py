"""The chosen checkpoint as it is handed over: under the word's name, with how it came about in its metadata."""

from dataclasses import replace
from pathlib import Path

from pseudoword.errors import UserError
from pseudoword.formats.modelspec import modelspec
from pseudoword.formats.reading import Learned, read_learned
from pseudoword.hypernetwork import Hypernetwork
from pseudoword.links import leads_out
from pseudoword.records import Choice, RunRecord, read_record
from pseudoword.results.places import CHOICE, WORDS, checkpoint_word


class OtherWord(UserError):
    def __init__(self, path: Path, found: str, wanted: str) -> None:
        super().__init__(f"{path} holds the word '{found}', but word.name is '{wanted}'. Run `dvc repro`.")


class StrayCheckpoint(UserError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{CHOICE} names the checkpoint {path}, which is not in {WORDS}. Run `dvc repro choose`.")


def read_chosen(choice: Choice, root: Path = Path()) -> Learned:
    """The word or hypernetwork of the choice in the project `root`. Raises StrayCheckpoint, OtherWord and as
    `read_learned` and `read_record` do."""
    path = root / choice.file
    if leads_out(path, root / WORDS):
        raise StrayCheckpoint(choice.file)
    checkpoint = read_learned(path)
    # A word for SDXL and a hypernetwork are named by their file alone, here <word>-<update>.
    by_file = isinstance(checkpoint, Hypernetwork) or checkpoint.vectors_g is not None
    name = checkpoint_word(path) if by_file else checkpoint.name
    if name != choice.word:
        raise OtherWord(path, name, choice.word)
    run = read_record(root / WORDS / choice.run / "settings.json", RunRecord)
    return replace(checkpoint, name=choice.word, metadata=describe(checkpoint, choice, run))


def describe(checkpoint: Learned, choice: Choice, run: RunRecord) -> dict[str, str]:
    """ModelSpec fields for other tools and `pseudoword.*` for whoever asks how the word came about."""
    summary = f"Learned from {run.pictures} pictures in {choice.step} updates on {run.model.name}."
    provenance = {
        "version": run.versions.get("pseudoword", ""),
        "run": choice.run,
        "step": choice.step,
        **_extent(checkpoint),
        "pictures": run.pictures,
        "init_text": run.init_text,
        "init_file": run.init_file,
        "seed": run.settings.get("train", {}).get("seed", ""),
        "base_model": run.model.name,
        "base_sha256": run.model.sha256,
        "base_commit": run.model.commit,
        "loss": choice.loss,
        "likeness": choice.likeness,
        "identity": choice.identity,
        "obedience": choice.obedience,
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
