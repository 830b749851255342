"""train: the word, learned in R runs that share one UNet batch.

reads   outputs/latents, outputs/captions.csv, word.init_file, the base model
writes  outputs/words/<run>/steps/<word>-<update>.safetensors   the word after each kept update, 0 is the start
        outputs/words/<run>/loss.csv                            what happened at each update
        outputs/words/<run>/settings.json                       every setting resolved, versions, hashes, how it ended
        outputs/words/<run>/previews/<word>-<update>.png        where train.preview.every is not 0
        outputs/words/<run>/tensorboard/                        where train.tensorboard is true

A stopped training goes on from .scratch/train/<fingerprint>/ with the same bits.
"""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from pseudoword.base.identity import ModelIdentity
from pseudoword.base.interface import Base
from pseudoword.base.loading import load_base
from pseudoword.base.placement import resolve_device, resolve_precision
from pseudoword.captions.table import read_captions
from pseudoword.code import code_digest
from pseudoword.errors import UserError
from pseudoword.fingerprint import fingerprint
from pseudoword.latents import INDEX, LATENTS, Latents, check_vae, read_latents
from pseudoword.pictures.ids import count_unmirrored
from pseudoword.plan import Plan, equal_parts, make_plan
from pseudoword.settings.sweep import runs
from pseudoword.word import check_name, to_embedding
from stages._runtime import Interrupted, alone_on, run_stage, stop_requests
from stages.train.board import Board
from stages.train.compiling import compiles
from stages.train.loop import Training
from stages.train.memory import probed_rows
from stages.train.outcome import describe, metadata_of, write_checkpoint, write_records
from stages.train.pack import AUTO, Packed, make_pack
from stages.train.previews import draw_preview, preview_prompt, save_preview
from stages.train.settings import Settings
from stages.train.state import load_state, save_state

OUT, SCRATCH = Path("outputs/words"), Path(".scratch/train")
PACKAGES = ("torch", "diffusers", "transformers", "numpy")
FINISHED = "finished"  # a file beside the state of a training that has ended
STOPPED_KEPT = 8
KILLED = shutil.ignore_patterns(".*.partial")  # what a killed process was about to write


class Diverged(UserError):
    def __init__(self, why: list[str]) -> None:
        super().__init__(
            "\n".join(why)
            + "\nLower train.learn_rate; with base.precision fp16, try bf16 or fp32. The last good state "
            f"of each run is kept in {OUT}."
        )


def run_pack(training: Training, pack: list[Packed], model: dict[str, Any], scratch: Path) -> None:
    """Train to the end, keeping checkpoints, previews and the state in `scratch`. Raises Interrupted when asked to."""
    state, total = training.state, training.plan.steps
    if state.step:
        print(f"going on at update {state.step} of {total}")
    boards = {
        at: Board(OUT / own.run.name / "tensorboard") for at, own in enumerate(pack) if own.settings.train.tensorboard
    }
    for at, board in boards.items():
        board.write(state.records[:, at], pack[at].run.update.rates[: training.ends[at]])
        for path in (scratch / pack[at].run.name / "previews").glob("*.png"):
            board.show(path, int(path.stem.rpartition("-")[2]))
    with (
        stop_requests() as signal_that_came,
        tqdm(total=total, initial=state.step, desc="train", unit="update", mininterval=1) as bar,
    ):
        training.asked_to_stop = lambda: signal_that_came() != 0
        while not training.finished:
            before = state.step
            for kept in training.advance():
                own = pack[kept.run]
                write_checkpoint(scratch / own.run.name, own, kept.update, kept.vectors, training.base, model)
            for at in training.learning_at(before):
                preview = pack[at].settings.train.preview
                if preview.every and state.step % preview.every == 0 and state.step <= training.ends[at]:
                    show_preview(training, pack[at], at, model, scratch, boards.get(at))
            for at, board in boards.items():
                board.write(state.records[:, at], pack[at].run.update.rates[: training.ends[at]])
            save_state(scratch / "state.safetensors", state)
            losses = state.records[before:, training.learning_at(before), 0].mean(0).tolist()
            bar.set_postfix_str("loss " + " ".join(f"{loss:.4f}" for loss in losses[:4]), refresh=False)
            bar.update(state.step - bar.n)
            if (number := signal_that_came()) and not training.finished:
                raise Interrupted(number, f"{state.step} of {total} updates are saved; `dvc repro` goes on from there.")
    for board in boards.values():
        board.close()


def show_preview(
    training: Training, own: Packed, at: int, model: dict[str, Any], scratch: Path, board: Board | None
) -> None:
    base, state = training.base, training.state
    vectors = training.optimizer.shown(state)
    with training.eagerly():
        image = draw_preview(base, own, vectors, model["resolution"])
    rows = vectors.split([len(run.vectors) for run in training.runs])[at]
    word = own.settings.word.name
    embedding = to_embedding(word, rows, base.widths, metadata_of(own, state.step, model))
    path = scratch / own.run.name / "previews" / f"{word}-{state.step}.png"
    save_preview(path, image, embedding, preview_prompt(own), own.settings.train.preview)
    if board:
        board.show(path, state.step)


def how_it_ended(training: Training, at: int, ids: list[str]) -> str:
    own, end = training.runs[at], training.ends[at]
    if training.state.failed[at] >= 0:
        broken_by = int(training.state.broken_by[at])
        picture = f", at picture {ids[broken_by]}" if broken_by >= 0 else ""
        return f"run '{own.name}' is no longer finite at update {end + 1}{picture}"
    if training.state.stopped[at] >= 0:
        return f"run '{own.name}' stopped early after update {end}: its deterministic loss has levelled out"
    return ""


def data_digest(captions: list[str]) -> str:
    """SHA-256 over latents and captions."""
    return hashlib.sha256(json.dumps(captions).encode() + (LATENTS / INDEX).read_bytes()).hexdigest()


def start(settings: Settings, base: Base, pack: list[Packed], latents: Latents, plan: Plan, scratch: Path) -> Training:
    """At the saved state if there is one, with as many rows at once as the memory takes."""
    state = load_state(scratch / "state.safetensors", base.device)
    own = settings.train
    training = Training(
        base, [packed.run for packed in pack], latents, plan, state, [own.preview.every] if own.preview.every else [],
        checkpointing=None if own.gradient_checkpointing == AUTO else bool(own.gradient_checkpointing),
    )  # fmt: skip
    if state is None and base.device.type == "cuda":
        rows = plan.samples * len(pack)
        wanted = rows if own.batch == AUTO else plan.rows
        fit = probed_rows(training, base.device, wanted)
        training.state.rows = torch.tensor(equal_parts(rows, fit))
        print(f"{fit} of {wanted} rows fit into the memory of {base.device}")
    if compiles(own.compile, base.device, plan, len(pack), len(latents.groups)):
        training.compile()  # not before the probes, whose lengths never come back
    return training


def tidy_up(finished: Path) -> None:
    """Leave the state of the training that has ended, should dvc be killed before it has the outputs, and those of the
    last few that were stopped."""
    (finished / FINISHED).touch()
    others = sorted(SCRATCH.iterdir(), key=lambda folder: folder.stat().st_mtime, reverse=True)
    stopped = [folder for folder in others if not (folder / FINISHED).exists()]
    for folder in {*others} - {finished, *stopped[:STOPPED_KEPT]}:
        shutil.rmtree(folder)


def main() -> None:
    settings = Settings.read("train")
    device = resolve_device(settings.base.device)
    dtype = resolve_precision(settings.base.precision, device)
    latents = read_latents()
    identity = ModelIdentity(settings.base.model, settings.base.revision, settings.base.config, settings.base.vae)
    check_vae(identity.vae_sha256, identity.vae_commit)
    captions = read_captions(latents.ids)
    own, sweep = settings.train, runs(settings)
    plan = make_plan(len(captions), len(sweep), own.steps, own.batch, own.accumulation, own.save_every)
    with alone_on(device):
        base = load_base(identity, device, dtype, settings.base.clip_skip, settings.base.attention)
        near = check_name(settings.word.name, base.tokenizers[0])
        if near:
            print(f"warning: word.name '{settings.word.name}' is close to words of the base model: {', '.join(near)}")
        pack = make_pack(sweep, base, captions, count_unmirrored(latents.ids), plan.steps)
        plan = plan.ending(packed.run.steps for packed in pack)
        model, data_sha = identity.record(), data_digest(captions)
        # A branch and the commit that it stands for are the same model: what counts of them is in the digests.
        unpinned = settings.base.model_copy(update={"revision": None})
        relevant = [unpinned, settings.word, settings.train, settings.sweep]
        digests = [model, data_sha, device, str(dtype), code_digest("train")]
        key = fingerprint((relevant, digests), PACKAGES)
        scratch = SCRATCH / key
        shutil.rmtree(OUT, ignore_errors=True)  # as dvc does before a stage: no run of an earlier sweep stays behind
        training = start(settings, base, pack, latents, plan, scratch)
        print(
            f"{len(pack)} run{'s' * (len(pack) > 1)} of {plan.steps} updates, {plan.samples} samples each, "
            f"{int(training.state.rows)} rows at once, {', '.join(str(len(one.run.vectors)) for one in pack)} vectors, "
            f"{device} {dtype}"
        )
        run_pack(training, pack, model, scratch)
    endings = [how_it_ended(training, at, latents.ids) for at in range(len(pack))]
    for at, packed in enumerate(pack):
        report = describe(packed, training, model, data_sha)
        report["ended"] = {"step": training.ends[at], "early": endings[at]}
        shutil.copytree(scratch / packed.run.name, OUT / packed.run.name, dirs_exist_ok=True, ignore=KILLED)
        write_records(OUT / packed.run.name, packed, training.state.records[:, at], training.ends[at], report)
    print("\n".join(filter(None, endings)))
    if all(training.state.failed[at] >= 0 for at in range(len(pack))):
        shutil.rmtree(scratch)  # nothing to go on from: what a device got wrong once may be right when tried again
        raise Diverged(endings)
    tidy_up(scratch)


if __name__ == "__main__":
    run_stage(main)
