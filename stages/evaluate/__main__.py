"""evaluate: every checkpoint scored by loss; a shortlist and the controls drawn, with the same noise for all.

reads   outputs/words/, outputs/latents, outputs/captions.csv, the base model
        evaluate.also_on, evaluate.together_with    other base models, and words in data/embeddings
writes  outputs/evaluation/losses.csv, pictures.csv, sheets/   (see docs/files.md)

What was drawn before is taken from the scratch: more seeds, prompts or checkpoints draw what is new, with the same bits
for the rest.
"""

import shutil
from itertools import groupby

import pandas as pd
import torch

from pseudoword.base.identity import ModelIdentity
from pseudoword.base.loading import load_base
from pseudoword.base.placement import hardware, resolve_device, resolve_precision
from pseudoword.files import write_table
from pseudoword.latents import Latents, read_latents
from pseudoword.results.places import DRAWN, LOSSES, SHEETS
from pseudoword.settings.base import BaseSettings
from pseudoword.settings.evaluate import EvaluateSettings
from pseudoword.settings.stage import StageSettings
from pseudoword.settings.word import WordSettings
from pseudoword.surroundings import surroundings
from stages._runtime import alone_on, run_stage
from stages.evaluate.checkpoints import Checkpoint, read_checkpoints, score, shortlist
from stages.evaluate.columns import columns_of, pictures_table
from stages.evaluate.drawing import Sampling, draw_columns
from stages.evaluate.kept import Kept


class Settings(StageSettings):
    base: BaseSettings
    word: WordSettings
    evaluate: EvaluateSettings


def main() -> None:
    settings = Settings.read("evaluate")
    evaluate, name = settings.evaluate, settings.word.name
    device = resolve_device(settings.base.device)
    dtype = resolve_precision(settings.base.precision, device)
    model = ModelIdentity(settings.base.model, settings.base.revision, settings.base.config, settings.base.vae)
    latents, checkpoints = read_latents(), read_checkpoints(model)
    sampling = Sampling(drawn_shape(latents), evaluate.inference_steps, evaluate.guidance)
    hypernetwork = checkpoints[0].is_hypernetwork
    if evaluate.strengths and not hypernetwork:
        print(f"note: evaluate.strengths is for hypernetworks; a word is weighted in its prompt, as in ({name}:0.8)")
    places = list(surroundings(evaluate, model, name, hypernetwork))
    losses, drawn, tables = list[float](), list[Checkpoint](), []
    with alone_on(device):
        for used, here in groupby(places, key=lambda place: place.model):
            weights = (used.sha256, used.configs_sha256)
            kept = Kept(hardware(device), *weights, str(dtype), settings.base.clip_skip, settings.base.attention)
            base = load_base(used, device, dtype, settings.base.clip_skip, settings.base.attention)
            if used is model:
                losses = score(base, name, latents, checkpoints, evaluate.timesteps, kept)
                drawn = shortlist(checkpoints, losses, evaluate.shortlist)
                shutil.rmtree(SHEETS, ignore_errors=True)  # as dvc does before a stage
            for place in here:
                columns = columns_of(drawn, checkpoints, name, evaluate.prompts.lines, evaluate.seeds, place)
                draw_columns(base, columns, sampling, kept, place)
                tables.append(pictures_table(columns, place.label))
            del base  # before the next one is loaded
            kept.prune()
    rows = [(c.run, c.step, loss, c in drawn) for c, loss in zip(checkpoints, losses, strict=True)]
    write_table(LOSSES, pd.DataFrame(rows, columns=["run", "step", "loss", "drawn"]))
    write_table(DRAWN, pd.concat(tables))


def drawn_shape(latents: Latents) -> torch.Size:
    """(C, H, W) of the latents that are drawn: of the training pictures' shapes a square, or the most frequent."""
    # What prompts ask for has room in a square, whatever shape most pictures have.
    shapes = [(group.mean.shape[2] == group.mean.shape[3], len(group.rows), group) for group in latents.groups]
    return max(shapes, key=lambda shape: shape[:2])[2].mean.shape[1:]


if __name__ == "__main__":
    run_stage(main)
