"""latents: each picture's VAE posterior, mean and standard deviation, never one frozen draw.

reads   outputs/pictures/<id>.png, <id>.mask.png, outputs/pictures.csv, the base model's VAE
writes  outputs/latents/shard-000.safetensors, ...   mean, std and perhaps weight of each picture, see docs/files.md
        outputs/latents/index.json                   what they were made of, and the digest of each shard

Only a picture that .scratch/latents/ does not know by its content is encoded, so a stopped run goes on, too.
"""

from collections.abc import Iterator

import torch
from diffusers import AutoencoderKL

from pseudoword.base.identity import ModelIdentity
from pseudoword.base.loading import load_vae
from pseudoword.base.placement import resolve_device
from pseudoword.latents import Encoded, write_latents
from pseudoword.pictures.prepared import open_pictures, to_tensor
from pseudoword.progress import Bar
from pseudoword.settings.base import BaseSettings
from pseudoword.settings.latents import LatentsSettings
from pseudoword.settings.stage import StageSettings
from stages._runtime import alone_on, run_stage
from stages.latents.encoding import NotFinite, batches, encode, prepare
from stages.latents.prepared import PreparedPicture, read_prepared_pictures, read_weight
from stages.latents.scratch import Scratch, key_of


class Settings(StageSettings):
    base: BaseSettings
    latents: LatentsSettings


def encode_all(vae: AutoencoderKL, sources: list[PreparedPicture], scratch: Scratch) -> None:
    """Encode into the scratch; one batch of pictures is held in memory."""
    with Bar[str]("latents", total=len(sources)) as bar:
        for part in batches(sources):
            pictures = torch.stack([to_tensor(image) for image in open_pictures([source.name for source in part])])
            mean, std = encode(vae, pictures)
            finite = (mean.isfinite() & std.isfinite()).flatten(1).all(1)
            if not finite.all():
                bad = [source.name for source, good in zip(part, finite, strict=True) if not good]
                raise NotFinite(bad, vae.dtype)
            for source, picture_mean, picture_std in zip(part, mean, std, strict=True):
                scratch.save(source.sha256, picture_mean, picture_std)
            bar.update(len(part))


def encoded(sources: list[PreparedPicture], scratch: Scratch) -> Iterator[Encoded]:
    for source in sources:
        found = scratch.load(source.sha256)
        assert found is not None
        mean, std = found
        weight = read_weight(source.mask, source.shape, *mean.shape[1:]) if source.mask else None
        yield Encoded(source.name, source.sha256, mean, std, weight)


def main() -> None:
    settings = Settings.read("latents")
    options, base = settings.latents, settings.base
    device = resolve_device(settings.base.device)
    sources = read_prepared_pictures()
    model = ModelIdentity(base.model, base.revision, base.config, base.vae)
    about = {
        "model": base.vae or base.model,
        "commit": model.vae_commit or "",
        "vae": model.vae_sha256,
        "precision": options.precision,
    }
    scratch = Scratch(key_of(device, about["vae"], options.precision, str(options.tile)))
    # By content: a picture and its mirrored twin are the same file when it is symmetric.
    missing = list({source.sha256: source for source in sources if not scratch.load(source.sha256)}.values())
    if missing:
        with alone_on(device):
            vae = load_vae(model, device)
            vae = prepare(vae, options.precision, options.tile)
            encode_all(vae, missing, scratch)
    resident = write_latents(encoded(sources, scratch), about)
    kept = {source.sha256 for source in sources}
    scratch.prune()
    shapes = len({source.shape for source in sources})
    print(
        f"{len(missing)} encoded, {len(kept) - len(missing)} reused. {len(sources)} pictures of {shapes} "
        f"shape{'s' * (shapes > 1)} take {resident / 2**20:.2f} MiB on the device that trains."
    )


if __name__ == "__main__":
    run_stage(main)
