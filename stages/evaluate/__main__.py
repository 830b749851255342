"""evaluate: every checkpoint scored by loss, the shortlist drawn and judged, one chosen.

reads   outputs/words/, outputs/latents, outputs/captions.csv, outputs/pictures/, the base model
writes  outputs/evaluation/scores.csv, choice.json, metrics.json, sheets/   (see docs/files.md)
"""

import json
import math
import re
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from torch import Tensor

from pseudoword.base.hub import OtherModel
from pseudoword.base.identity import ModelIdentity
from pseudoword.base.interface import Base
from pseudoword.base.loading import load_base
from pseudoword.base.placement import resolve_device, resolve_precision
from pseudoword.captions.table import read_captions
from pseudoword.deterministic_loss import DeterministicLoss
from pseudoword.errors import UserError
from pseudoword.files import save_with, write_table, write_text
from pseudoword.formats.reading import read_embedding
from pseudoword.judge import Judge, judge_name, similarity_among
from pseudoword.latents import Latents, read_latents
from pseudoword.pictures.prepared import open_pictures
from pseudoword.progress import Bar
from pseudoword.prompts import Vocabulary, fill, without_name
from pseudoword.records import BaseModelRecord, RunRecord, read_record
from pseudoword.settings.base import Base as BaseSettings
from pseudoword.settings.evaluate import Evaluate
from pseudoword.settings.stage import StageSettings
from pseudoword.settings.word import Word
from pseudoword.word import side_by_side
from stages._runtime import alone_on, run_stage
from stages.evaluate.choice import Candidate, Choice, choose
from stages.evaluate.drawing import contact_sheet, draw

WORDS, OUT = Path("outputs/words"), Path("outputs/evaluation")
SHEETS = OUT / "sheets"
BLANK = 4.0  # standard deviation of the pixels, of 255, under which a picture counts as one colour


class Settings(StageSettings):
    base: BaseSettings
    word: Word
    evaluate: Evaluate


class NoCheckpoints(UserError):
    def __init__(self) -> None:
        super().__init__(f"{WORDS} holds no checkpoints. Run `dvc repro train`.")


class OtherBase(OtherModel):
    def __init__(self, run: str, trained_on: BaseModelRecord, commit: str | None) -> None:
        made = f"{WORDS / run}: learned on a model '{trained_on.name}' that is not what base.model is now"
        super().__init__(made, trained_on.commit, commit, "base.revision", "train")


@dataclass(frozen=True)
class Checkpoint:
    run: str
    step: int
    file: Path
    vectors: Tensor  # (K, sum of the encoders' widths)
    windows: int  # that its prompts were read in
    template: str  # the first one that it was trained with


def read_checkpoints(model: ModelIdentity) -> list[Checkpoint]:
    """All checkpoints of all runs, by run and step. Raises OtherBase for one that was not learned on this model."""
    found = []
    for run in WORDS.glob("*/settings.json"):
        record = read_record(run, RunRecord)
        if record.model.sha256 not in ("", model.sha256):
            raise OtherBase(run.parent.name, record.model, model.commit)
        files = list(run.parent.glob("steps/*.safetensors"))
        if len(files) < 2:
            print(f"note: run '{run.parent.name}' has no checkpoint but its start and is left out")
            continue
        for path in files:
            step = int(re.findall(r"-(\d+)\.safetensors$", path.name)[0])
            vectors = side_by_side(read_embedding(path))
            found.append(Checkpoint(run.parent.name, step, path, vectors, record.windows, record.templates[0]))
    if not found:
        raise NoCheckpoints
    return sorted(found, key=lambda checkpoint: (checkpoint.run, checkpoint.step))


def shortlist(steps: list[int], losses: list[float], number: int) -> list[int]:
    """Which steps of a run to draw: the start, the last, the one of lowest loss, the rest evenly between them."""
    trained = [step for step in steps if step > 0]
    lowest = min(zip(losses, steps, strict=True))[1]
    chosen = {0, steps[-1], lowest}
    spread = [trained[round(at * (len(trained) - 1) / max(number - 1, 1))] for at in range(number)]
    for step in sorted(spread, key=lambda step: -min(abs(step - other) for other in chosen)):
        if len(chosen - {0}) < number:
            chosen.add(step)
    return sorted(chosen)


def score(base: Base, name: str, latents: Latents, checkpoints: list[Checkpoint], timesteps: int) -> list[float]:
    """The deterministic loss of each checkpoint, with its run's first training template and each picture's caption."""
    captions = read_captions(latents.ids)
    loss, losses = DeterministicLoss(base, latents, timesteps), []
    for checkpoint in Bar("evaluate", checkpoints, label="loss", unit="checkpoint"):
        prompts = [fill(checkpoint.template, name, caption) for caption in captions]
        ids = vocabulary_of(base, name, checkpoint).encode_all(prompts)
        losses.append(float(loss(ids, checkpoint.vectors)))
    return losses


def vocabulary_of(base: Base, name: str, checkpoint: Checkpoint) -> Vocabulary:
    first_ids = [len(table) for table in base.tables]
    return Vocabulary(base.tokenizers, first_ids, name, len(checkpoint.vectors), checkpoint.windows)


def shortlisted(checkpoints: list[Checkpoint], losses: list[float], number: int) -> list[Checkpoint]:
    """The checkpoints to draw, of every run."""
    chosen = []
    for run in dict.fromkeys(checkpoint.run for checkpoint in checkpoints):
        own = [(c, loss) for c, loss in zip(checkpoints, losses, strict=True) if c.run == run]
        steps = shortlist([c.step for c, _ in own], [loss for _, loss in own], number)
        chosen += [c for c, _ in own if c.step in steps]
    return chosen


def save_pictures(
    checkpoint: Checkpoint, pictures: list[Image.Image], templates: list[str], seeds: int
) -> pd.DataFrame:
    """Write a checkpoint's pictures and return their rows of sheets/pictures.csv."""
    folder = f"{checkpoint.run}-{checkpoint.step}"
    rows = []
    for at, picture in enumerate(pictures):
        prompt, seed = divmod(at, seeds)
        file = f"{folder}/{prompt:02d}-{seed}.png"
        save_with(SHEETS / file, partial(picture.save, format="png"))
        rows.append((checkpoint.run, checkpoint.step, templates[prompt], seed, file))
    return pd.DataFrame(rows, columns=["run", "step", "prompt", "seed", "file"])


def judge_pictures(
    judge: Judge, checkpoint: Checkpoint, pictures: list[Image.Image], references: Tensor, texts: list[str], seeds: int
) -> Candidate:
    """Similarity of each picture to the training pictures and to its prompt without the word."""
    seen = judge.pictures(pictures)
    told = judge.texts([text or "-" for text in texts]).repeat_interleave(seeds, 0)
    spoken = np.repeat([bool(text) for text in texts], seeds)
    return Candidate(
        run=checkpoint.run,
        step=checkpoint.step,
        image=(seen @ references.T).mean(1).double().numpy(),
        text=np.where(spoken, (seen * told).sum(1).double().numpy(), np.nan),
        blank=float(np.mean([np.asarray(picture).std() < BLANK for picture in pictures])),
    )


def scores_table(
    checkpoints: list[Checkpoint], losses: list[float], candidates: list[Candidate], choice: Choice
) -> pd.DataFrame:
    drawn = {(candidate.run, candidate.step): candidate for candidate in candidates}
    rows = []
    for checkpoint, loss in zip(checkpoints, losses, strict=True):
        key = (checkpoint.run, checkpoint.step)
        image, text = similarities(drawn[key]) if key in drawn else (math.nan, math.nan)
        rows.append((*key, loss, image, text, choice.scores.get(key, math.nan), choice.vetoes.get(key, ""),
                     key == (choice.run, choice.step)))  # fmt: skip
    columns = ["run", "step", "loss", "image_similarity", "text_similarity", "score", "veto", "chosen"]
    return pd.DataFrame(rows, columns=columns)


def similarities(candidate: Candidate) -> tuple[float, float]:
    spoken = candidate.text[np.isfinite(candidate.text)]
    return float(candidate.image.mean()), float(spoken.mean()) if len(spoken) else math.nan


def metrics(table: pd.DataFrame, choice: Choice) -> dict[str, Any]:
    """What `dvc metrics show` and `dvc exp show` compare: the chosen checkpoint beside the start of its run."""

    def of(step: int) -> dict[str, float]:
        row = table[(table["run"] == choice.run) & (table["step"] == step)].iloc[0]
        return {key: float(row[key]) for key in ("loss", "image_similarity", "text_similarity") if pd.notna(row[key])}

    return {"chosen": {"run": choice.run, "step": choice.step, **of(choice.step)}, "init": of(0)}


def draw_and_judge(
    base: Base, judge: Judge, references: Tensor, name: str,
    checkpoints: list[Checkpoint], shape: tuple[int, ...], own: Evaluate,
) -> tuple[list[Candidate], pd.DataFrame]:  # fmt: skip
    """Draw each checkpoint with all prompts and seeds; what the judge says of it, and the table of the pictures."""
    templates = list(own.prompts.lines)
    prompts, texts = [fill(line, name) for line in templates], [without_name(line) for line in templates]
    candidates, rows = [], []
    for checkpoint in Bar("evaluate", checkpoints, label="draw", unit="checkpoint"):
        vocabulary = vocabulary_of(base, name, checkpoint)
        pictures = draw(
            base, vocabulary, checkpoint.vectors, prompts, own.seeds, shape,
            own.inference_steps, own.guidance,
        )  # fmt: skip
        candidates.append(judge_pictures(judge, checkpoint, pictures, references, texts, own.seeds))
        table = save_pictures(checkpoint, pictures, templates, own.seeds)
        rows.append(table.assign(image_similarity=candidates[-1].image))
    return candidates, pd.concat(rows)


def write_chosen_sheet(pictures: pd.DataFrame, choice: Choice, training: list[Image.Image]) -> None:
    """The choice at a glance, in rows: training pictures, what the start draws, what the chosen checkpoint draws."""
    columns = pictures["prompt"].nunique()

    def row(step: int) -> list[Image.Image]:
        own = pictures[(pictures["run"] == choice.run) & (pictures["step"] == step) & (pictures["seed"] == 0)]
        return [Image.open(SHEETS / file) for file in own["file"]]

    first = [training[at % len(training)] for at in range(columns)]
    sheet = contact_sheet([*first, *row(0), *row(choice.step)], columns)
    save_with(SHEETS / "chosen.png", partial(sheet.save, format="png"))


def main() -> None:
    settings = Settings.read("evaluate")
    own, name = settings.evaluate, settings.word.name
    device = resolve_device(settings.base.device)
    dtype = resolve_precision(settings.base.precision, device)
    model = ModelIdentity(settings.base.model, settings.base.revision, settings.base.config, settings.base.vae)
    latents, checkpoints = read_latents(), read_checkpoints(model)
    # A square where there is one: what prompts ask for has room in it, whatever shape most pictures have.
    shapes = [(group.mean.shape[2] == group.mean.shape[3], len(group.rows), group) for group in latents.groups]
    shape = max(shapes, key=lambda one: one[:2])[2].mean.shape[1:]
    judged_by = judge_name(own.judge, model)
    with alone_on(device):
        judge = Judge.load(judged_by, device)
        training = open_pictures(latents.ids)
        references = judge.pictures(training)
        base = load_base(model, device, dtype, settings.base.clip_skip, settings.base.attention)
        losses = score(base, name, latents, checkpoints, own.timesteps)
        shutil.rmtree(SHEETS, ignore_errors=True)  # as dvc does before a stage
        drawn = shortlisted(checkpoints, losses, own.shortlist)
        candidates, pictures = draw_and_judge(base, judge, references, name, drawn, shape, own)
    ceiling = similarity_among(references)
    choice = choose(candidates, ceiling, own.likeness)
    (chosen,) = [c for c in checkpoints if (c.run, c.step) == (choice.run, choice.step)]
    table = scores_table(checkpoints, losses, candidates, choice)
    measured = metrics(table, choice)
    report = {
        "word": name,
        "file": chosen.file.as_posix(),
        **measured["chosen"],
        "reason": choice.reason,
        "advice": choice.advice,
        "tied": choice.tied,
        "training_similarity": ceiling,
        "judge": f"{judged_by.partition('@')[0]}@{judge.commit}" if judge.commit else judged_by,
        "prompts": own.prompts.lines,
    }
    write_chosen_sheet(pictures, choice, training)
    write_table(SHEETS / "pictures.csv", pictures)
    write_table(OUT / "scores.csv", table)
    write_text(OUT / "metrics.json", json.dumps(measured, indent=2) + "\n")
    write_text(OUT / "choice.json", json.dumps(report, indent=2) + "\n")
    print("\n".join([choice.reason, *choice.advice]))


if __name__ == "__main__":
    run_stage(main)
