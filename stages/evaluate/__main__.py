"""evaluate: every checkpoint scored by loss, the shortlist drawn and judged, one chosen.

reads   outputs/words/, outputs/latents, outputs/captions.csv, outputs/pictures/, the base model
writes  outputs/evaluation/scores.csv, choice.json, metrics.json, sheets/   (see docs/files.md)
"""

import json
import shutil

import torch
from torch import Tensor

from pseudoword.base.identity import ModelIdentity
from pseudoword.base.interface import Base
from pseudoword.base.loading import load_base
from pseudoword.base.placement import resolve_device, resolve_precision
from pseudoword.files import write_table, write_text
from pseudoword.judge import Judge, judge_name, similarity_among
from pseudoword.latents import Latents, read_latents
from pseudoword.pictures.prepared import open_pictures
from pseudoword.progress import Bar
from pseudoword.prompts import fill, without_name
from pseudoword.results.places import CHOICE, DRAWN, METRICS, SCORES, SHEETS
from pseudoword.settings.base import Base as BaseSettings
from pseudoword.settings.evaluate import Evaluate
from pseudoword.settings.stage import StageSettings
from pseudoword.settings.word import Word
from stages._runtime import alone_on, run_stage
from stages.evaluate.checkpoints import Checkpoint, read_checkpoints, score, shortlist
from stages.evaluate.choice import Candidate, choose
from stages.evaluate.drawing import draw, save_pictures, write_chosen_sheet
from stages.evaluate.measures import MEASURES
from stages.evaluate.measures.measure import Evidence
from stages.evaluate.tables import changes, metrics, pictures_table, scores_table


class Settings(StageSettings):
    base: BaseSettings
    word: Word
    evaluate: Evaluate


def main() -> None:
    settings = Settings.read("evaluate")
    evaluate, name = settings.evaluate, settings.word.name
    device = resolve_device(settings.base.device)
    dtype = resolve_precision(settings.base.precision, device)
    model = ModelIdentity(settings.base.model, settings.base.revision, settings.base.config, settings.base.vae)
    latents, checkpoints = read_latents(), read_checkpoints(model)
    judged_by = judge_name(evaluate.judge, model)
    with alone_on(device):
        judge = Judge.load(judged_by, device)
        training = open_pictures(latents.ids)
        references = judge.pictures(training)
        base = load_base(model, device, dtype, settings.base.clip_skip, settings.base.attention)
        losses = score(base, name, latents, checkpoints, evaluate.timesteps)
        shutil.rmtree(SHEETS, ignore_errors=True)  # as dvc does before a stage
        shortlisted = shortlist(checkpoints, losses, evaluate.shortlist)
        drawn = [
            draw_and_judge(base, judge, references, name, checkpoint, drawn_shape(latents), evaluate)
            for checkpoint in Bar("evaluate", shortlisted, label="draw", unit="checkpoint")
        ]
    candidates, ceiling = [candidate for candidate, _ in drawn], similarity_among(references)
    selection = choose(candidates, ceiling, evaluate.likeness)
    (chosen,) = [c for c in checkpoints if (c.run, c.step) == (selection.run, selection.step)]
    scores = scores_table(checkpoints, losses, candidates, selection)
    pictures = pictures_table(drawn, evaluate.prompts.lines, evaluate.seeds)
    measured = metrics(scores, selection)
    choice = {
        "word": name,
        "file": chosen.file.as_posix(),
        **measured["chosen"],
        "reason": selection.reason,
        "advice": selection.advice,
        "tied": selection.tied,
        "training_similarity": ceiling,
        "judge": f"{judged_by.partition('@')[0]}@{judge.commit}" if judge.commit else judged_by,
        "prompts": evaluate.prompts.lines,
    }
    write_chosen_sheet(pictures, selection.run, selection.step, training)
    write_table(DRAWN, pictures)
    write_table(SCORES, scores)
    write_text(METRICS, json.dumps(measured, indent=2) + "\n")
    write_text(CHOICE, json.dumps(choice, indent=2) + "\n")
    print("\n".join([changes(measured), selection.reason, *selection.advice]))


def draw_and_judge(
    base: Base, judge: Judge, references: Tensor, name: str, checkpoint: Checkpoint, shape: torch.Size,
    evaluate: Evaluate,
) -> tuple[Candidate, list[str]]:  # fmt: skip
    """Draw a checkpoint with all prompts and seeds; every measure of its pictures, and their files."""
    lines, seeds = evaluate.prompts.lines, evaluate.seeds
    pictures = draw(
        checkpoint.at_work(base, name), [fill(line, name) for line in lines], seeds, shape, evaluate.inference_steps,
        evaluate.guidance,
    )  # fmt: skip
    texts = [without_name(line) for line in lines for _ in range(seeds)]
    evidence = Evidence(pictures, texts, judge, references)
    measured = {measure.name: measure.of(evidence) for measure in MEASURES}
    return Candidate(checkpoint.run, checkpoint.step, measured), save_pictures(checkpoint, pictures, seeds)


def drawn_shape(latents: Latents) -> torch.Size:
    """(C, H, W) of the latents that are drawn: of the training pictures' shapes a square, or the most frequent."""
    # What prompts ask for has room in a square, whatever shape most pictures have.
    shapes = [(group.mean.shape[2] == group.mean.shape[3], len(group.rows), group) for group in latents.groups]
    return max(shapes, key=lambda shape: shape[:2])[2].mean.shape[1:]


if __name__ == "__main__":
    run_stage(main)
