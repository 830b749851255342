"""train: the word, learned in R runs that share one UNet batch.

reads   outputs/latents, outputs/captions.csv, word.init_file, the base model
writes  outputs/words/<run>/steps/<word>-<step>.safetensors   the word after each step that is left, 0 is the start
        outputs/words/<run>/settings.json                     settings that decide it, versions, hashes, how it ended
        outputs/training/<run>/loss.csv                       loss, norm and rate of each step
        outputs/training/<run>/previews/<word>-<step>.png     where train.preview.every is not 0
        outputs/training/<run>/tensorboard/                   where train.tensorboard is true

A training goes on with the same bits from .scratch/train/<key>/ (see `stages.train.session`) when it was stopped, is
made longer or is looked at more closely.
"""

import hashlib
import json

from pseudoword.base.identity import ModelIdentity
from pseudoword.base.loading import load_base
from pseudoword.base.placement import resolve_device, resolve_precision
from pseudoword.captions.table import read_captions
from pseudoword.latents import INDEX, LATENTS, check_vae, read_latents
from pseudoword.pictures.ids import count_unmirrored
from pseudoword.plan import make_plan
from pseudoword.settings.sweep import runs
from pseudoword.word import check_name
from stages._runtime import alone_on, run_stage
from stages.train.pack import make_pack
from stages.train.session import Session
from stages.train.settings import Settings


def main() -> None:
    settings = Settings.read("train")
    device = resolve_device(settings.base.device)
    dtype = resolve_precision(settings.base.precision, device)
    identity = ModelIdentity(settings.base.model, settings.base.revision, settings.base.config, settings.base.vae)
    latents = read_latents()
    check_vae(identity.vae_sha256, identity.vae_commit)
    captions, train, sweep = read_captions(latents.ids), settings.train, runs(settings)
    plan = make_plan(len(captions), len(sweep), train.steps, train.batch, train.accumulation, train.save_every)
    with alone_on(device):
        base = load_base(identity, device, dtype, settings.base.clip_skip, settings.base.attention)
        if train.learn == "word" and (near := check_name(settings.word.name, base.tokenizers[0])):
            print(f"warning: word.name '{settings.word.name}' is close to words of the base model: {', '.join(near)}")
        pack = make_pack(sweep, base, captions, count_unmirrored(latents.ids), plan.steps)
        plan = plan.ending(packed.run.steps for packed in pack)
        Session(pack, base, latents, plan, identity.record(), data_digest(captions)).complete()


def data_digest(captions: list[str]) -> str:
    """SHA-256 over latents and captions."""
    return hashlib.sha256(json.dumps(captions).encode() + (LATENTS / INDEX).read_bytes()).hexdigest()


if __name__ == "__main__":
    run_stage(main)
