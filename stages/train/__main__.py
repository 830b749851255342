"""train: the word, learned in R runs that share one UNet batch.

reads   outputs/latents.safetensors, outputs/captions.csv, train.template, the base model
writes  outputs/words/<run>/steps/<word>-<update>.safetensors   the word after each kept update, 0 is the start
        outputs/words/<run>/loss.csv                            step, epoch, loss, learn_rate, norm
        outputs/words/<run>/settings.json                       every setting resolved, versions, counts, device

A stopped training goes on from .scratch/train/<fingerprint>/ with the same bits.
"""

import json
import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from pseudoword.base.location import digest, locate, native_resolution
from pseudoword.base.placement import resolve_device, resolve_precision
from pseudoword.base.stable_diffusion import StableDiffusion, load_pipeline
from pseudoword.captions import read_captions
from pseudoword.files import write_table, write_text
from pseudoword.formats.embedding import save_embedding
from pseudoword.formats.modelspec import modelspec
from pseudoword.latents import LATENTS, Latents, read_latents
from pseudoword.plan import Plan, make_plan
from pseudoword.prompts import Vocabulary, fill, read_templates
from pseudoword.schedule import parse_schedule
from pseudoword.settings import Settings, load_settings, runs
from pseudoword.word import check_name, initial_vectors, vectors_for, vocabulary_norm
from stages._runtime import alone_on, run_stage
from stages.train.loop import Run, train
from stages.train.state import State, fingerprint, load_state, save_state

OUT, SCRATCH = Path("outputs/words"), Path(".scratch/train")
CODE = Path(__file__).parents[2]
AUTO = "auto"


def make_run(
    name: str, settings: Settings, base: StableDiffusion, captions: list[str], first_id: int, steps: int
) -> Run:
    """One run of the pack: its vectors' ids start at `first_id`."""
    word, train = settings.word, settings.train
    vectors = vectors_for(len(captions)) if word.vectors == AUTO else int(word.vectors)
    vocabulary = Vocabulary(base.tokenizer, word.name, first_id, vectors)
    templates = read_templates(train.template)
    prompts = [vocabulary.encode_all([fill(line, word.name, caption) for line in templates]) for caption in captions]
    return Run(
        name=name,
        seed=train.seed,
        rates=parse_schedule(train.learn_rate, steps),
        vectors=initial_vectors(word.init_text, vectors, base.table, base.tokenizer),
        prompts=torch.stack(prompts),
        rescaled=train.norm == "rescale",
        deterministic=train.latents == "deterministic",
    )


def make_pack(sweep: dict[str, Settings], base: StableDiffusion, captions: list[str], steps: int) -> list[Run]:
    pack: list[Run] = []
    first_id = len(base.table)
    for name, own in sweep.items():
        pack.append(make_run(name, own, base, captions, first_id, steps))
        first_id += len(pack[-1].vectors)
    return pack


def write_run(folder: Path, run: Run, kept: Tensor, records: Tensor, plan: Plan, report: dict[str, Any]) -> None:
    """The checkpoints (C, K, D), the loss table and the settings of one run."""
    word, model = report["settings"]["word"]["name"], report["model"]
    for update, vectors in zip(plan.saved, kept, strict=True):
        if update > len(run.rates):
            break
        metadata = modelspec(word, model["family"], model["resolution"]) | {
            "pseudoword.step": str(update),
            "pseudoword.run": run.name,
            "pseudoword.base_model": model["name"],
            "pseudoword.base_sha256": model["sha256"],
        }
        save_embedding(folder / "steps" / f"{word}-{update}.safetensors", word, vectors, metadata)
    table = pd.DataFrame(
        {
            "step": range(1, len(run.rates) + 1),
            "epoch": [update * plan.samples // report["pictures"] for update in range(len(run.rates))],
            "loss": records[: len(run.rates), 0].numpy(),
            "learn_rate": run.rates,
            "norm": records[: len(run.rates), 1].numpy(),
        }
    )
    write_table(folder / "loss.csv", table)
    write_text(folder / "settings.json", json.dumps(report, indent=2) + "\n")


def describe_run(
    settings: Settings, run: Run, plan: Plan, base: StableDiffusion, pictures: int, sha: str
) -> dict[str, Any]:
    """What the run was made with: the settings that it depends on with each `auto` resolved, versions, the model."""
    content = settings.model_dump(mode="json", include={"base", "word", "train"})
    resolved = {
        ("word", "vectors"): len(run.vectors),
        ("train", "steps"): plan.steps,
        ("train", "batch"): plan.batch,
        ("train", "accumulation"): plan.samples // plan.batch if plan.samples % plan.batch == 0 else AUTO,
        ("train", "save_every"): plan.saved[1] if len(plan.saved) > 1 else plan.steps,
        ("base", "device"): str(base.device),
        ("base", "precision"): str(base.dtype).removeprefix("torch."),
    }
    auto = [f"{section}.{key}" for section, key in resolved if content[section][key] == AUTO]
    for (section, key), value in resolved.items():
        if content[section][key] == AUTO:
            content[section][key] = value
    packages = ("pseudoword", "torch", "diffusers", "transformers")
    return {
        "settings": content,
        "auto": auto,
        "pictures": pictures,
        "samples_per_update": plan.samples,
        "versions": {"python": platform.python_version()} | {package: version(package) for package in packages},
        "device": str(base.device),
        "precision": str(base.dtype).removeprefix("torch."),
        "model": {
            "name": settings.base.model,
            "family": base.family,
            "resolution": native_resolution(settings.base.model, settings.base.revision),
            "sha256": sha,
        },
    }


def run_pack(base: StableDiffusion, pack: list[Run], latents: Latents, plan: Plan, state_file: Path) -> State:
    """Train with a progress bar, keeping the state on disk."""
    state = load_state(state_file, base.device)
    done = state.step if state else 0
    if done:
        print(f"going on at update {done} of {plan.steps}")
    with tqdm(total=plan.steps, initial=done, desc="train", unit="update", mininterval=1) as bar:

        def save(state: State, losses: list[float]) -> None:
            save_state(state_file, state)
            bar.set_postfix_str("loss " + " ".join(f"{loss:.4f}" for loss in losses[:4]), refresh=False)
            bar.update(state.step - bar.n)

        norm = vocabulary_norm(base.table)
        return train(base, pack, latents.mean, latents.std, plan, norm, state, save)


def main() -> None:
    settings = load_settings()
    device = resolve_device(settings.base.device)
    dtype = resolve_precision(settings.base.precision, device)
    latents = read_latents()
    captions = read_captions(latents.ids)
    own = settings.train
    sweep = runs(settings)
    plan = make_plan(len(captions), len(sweep), device != "cpu", own.steps, own.batch, own.accumulation, own.save_every)
    with alone_on(device):
        base = StableDiffusion(load_pipeline(settings.base.model, settings.base.revision, device, dtype))
        check_name(settings.word.name, base.tokenizer)
        pack = make_pack(sweep, base, captions, plan.steps)
        plan = plan.ending(len(run.rates) for run in pack)
        sha = digest(locate(settings.base.model, settings.base.revision))
        code = [*CODE.glob("pseudoword/**/*.py"), *CODE.glob("stages/train/*.py")]
        relevant = [settings.base, settings.word, settings.train, settings.sweep]
        key = fingerprint(relevant, [LATENTS, own.template], code, sha, device, str(dtype), json.dumps(captions))
        print(
            f"{len(pack)} run{'s' * (len(pack) > 1)} of {plan.steps} updates, {plan.samples} samples each, at most "
            f"{plan.batch} at once, {', '.join(str(len(run.vectors)) for run in pack)} vectors, {device} {dtype}"
        )
        state = run_pack(base, pack, latents, plan, SCRATCH / key / "state.safetensors")
    shutil.rmtree(OUT, ignore_errors=True)  # as dvc does before a stage: no run of an earlier sweep stays behind
    kept = state.kept.cpu().split([len(run.vectors) for run in pack], dim=1)
    for at, (run, own_settings) in enumerate(zip(pack, sweep.values(), strict=True)):
        report = describe_run(own_settings, run, plan, base, len(captions), sha)
        write_run(OUT / run.name, run, kept[at], state.records[:, at], plan, report)
    # This state stays until another training ends: should dvc be killed before it has the outputs, nothing is lost.
    for folder in SCRATCH.iterdir():
        if folder.name != key:
            shutil.rmtree(folder)


if __name__ == "__main__":
    run_stage(main)
