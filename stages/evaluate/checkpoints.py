"""The checkpoints of all runs, their deterministic loss, and which of them are drawn."""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import Tensor

from pseudoword.base.hub import OtherModel
from pseudoword.base.identity import ModelIdentity
from pseudoword.base.interface import Base, Conditioning
from pseudoword.captions.table import read_captions
from pseudoword.deterministic_loss import DeterministicLoss
from pseudoword.errors import UserError
from pseudoword.files import sha256_of
from pseudoword.formats.reading import read_learned
from pseudoword.hypernetwork import Hypernetwork
from pseudoword.latents import Latents, latents_digest
from pseudoword.learned import AtWork
from pseudoword.progress import Bar
from pseudoword.prompts import fill
from pseudoword.records import BaseModelRecord, RunRecord, read_record
from pseudoword.results.places import WORDS, checkpoint_files
from pseudoword.settings.naming import natural_order
from stages.evaluate.kept import Kept, key_of


class NoCheckpoints(UserError):
    def __init__(self) -> None:
        super().__init__(f"{WORDS} holds no checkpoints. Run `dvc repro train`.")


class OtherBase(OtherModel):
    def __init__(self, run: str, trained_on: BaseModelRecord, key: str, commit: str | None) -> None:
        made = f"{WORDS / run}: learned on a model '{trained_on.name}' that is not what {key} is now"
        super().__init__(made, trained_on.commit, commit, "base.revision", "train")


@dataclass(frozen=True)
class Checkpoint:
    run: str
    step: int
    file: Path
    windows: int  # that its prompts were read in
    template: str  # the first one that it was trained with
    init_text: str  # that its run started from; empty where that is no text that a prompt could have

    @property
    def is_hypernetwork(self) -> bool:
        return isinstance(read_learned(self.file), Hypernetwork)

    def at_work(self, base: Base, name: str) -> AtWork:
        """Its word under that `name`, or its hypernetwork, in the model."""
        return AtWork(base, read_learned(self.file), name, self.windows)


def read_checkpoints(model: ModelIdentity) -> list[Checkpoint]:
    """All checkpoints of all runs, by run and step. Raises OtherBase for one that was not learned on this model."""
    found = []
    for settings in WORDS.glob("*/settings.json"):
        run, record = settings.parent, read_record(settings, RunRecord)
        if record.model.sha256 not in ("", model.sha256):
            raise OtherBase(run.name, record.model, "base.model", model.commit)
        if record.model.configs_sha256 not in ("", model.configs_sha256):
            raise OtherBase(run.name, record.model, "base.model with the configs of base.config", model.commit)
        files = checkpoint_files(run)
        if len(files) < 2:
            print(f"note: run '{run.name}' has no checkpoint but its start and is left out")
            continue
        for step, path in files.items():
            found.append(Checkpoint(run.name, step, path, record.windows, record.templates[0], _init_text(record)))
    if not found:
        raise NoCheckpoints
    return sorted(found, key=lambda checkpoint: (natural_order(checkpoint.run), checkpoint.step))


def _init_text(record: RunRecord) -> str:
    """Empty for a start from a file, from zeros or from a sign, and for a hypernetwork."""
    return record.init_text if any(letter.isalnum() for letter in record.init_text) else ""


def score(
    base: Base, name: str, latents: Latents, checkpoints: list[Checkpoint], levels: int, kept: Kept
) -> list[float]:
    """The deterministic loss of each checkpoint, with its run's first training template and each picture's caption."""
    captions = read_captions(latents.ids)
    loss, losses = DeterministicLoss(base, latents, levels), []
    pictures = latents_digest()
    for checkpoint in Bar("evaluate", checkpoints, label="loss", unit="checkpoint"):
        prompts = [fill(checkpoint.template, name, caption) for caption in captions]
        key = key_of(sha256_of(checkpoint.file), checkpoint.windows, name, prompts, pictures, levels)
        if (scored := kept.loss(key)) is None:
            work = checkpoint.at_work(base, name)
            scored = float(loss(partial(_of_pictures, work, work.tokens(prompts))))
            kept.save_loss(key, scored)
        losses.append(scored)
    return losses


def _of_pictures(work: AtWork, ids: Tensor, pictures: Tensor) -> Conditioning:
    return work.condition(ids[pictures])


def shortlist(checkpoints: list[Checkpoint], losses: list[float], number: int) -> list[Checkpoint]:
    """The checkpoints to draw: about `number` of every run."""
    drawn = []
    for run in dict.fromkeys(checkpoint.run for checkpoint in checkpoints):
        rows = [(c, loss) for c, loss in zip(checkpoints, losses, strict=True) if c.run == run and c.step > 0]
        steps = shortlisted_steps([c.step for c, _ in rows], [loss for _, loss in rows], number)
        drawn += [c for c, _ in rows if c.step in steps]
    return drawn


def shortlisted_steps(steps: list[int], losses: list[float], number: int) -> list[int]:
    """Which steps of a run to draw: the last, the one of lowest loss, the rest evenly between them."""
    _, lowest = min((loss if math.isfinite(loss) else math.inf, step) for loss, step in zip(losses, steps, strict=True))
    chosen = {steps[-1], lowest}
    spread = [steps[round(i * (len(steps) - 1) / max(number - 1, 1))] for i in range(number)]
    for step in sorted(spread, key=lambda step: -min(abs(step - taken) for taken in chosen)):
        if len(chosen) < number:
            chosen.add(step)
    return sorted(chosen)
