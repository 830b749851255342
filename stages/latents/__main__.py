"""latents: each picture's VAE posterior, mean and standard deviation, never one frozen draw.

reads   outputs/pictures/<id>.png, outputs/pictures.csv, the base model's VAE
writes  outputs/latents/shard-000.safetensors, ...   mean and std of each picture, see docs/files.md
        outputs/latents/index.json                   what they were made of, and the digest of each shard
"""

import hashlib
from collections.abc import Iterator

import torch
from diffusers import AutoencoderKL
from tqdm import tqdm

from pseudoword.base.loading import load_vae
from pseudoword.base.location import digest, locate
from pseudoword.base.placement import resolve_device
from pseudoword.latents import LATENTS, Encoded, write_latents
from pseudoword.pictures import PICTURES, open_pictures, to_tensor, used_ids
from pseudoword.settings import load_settings
from stages._runtime import alone_on, run_stage
from stages.latents.encoding import batches, encode


def encoded(vae: AutoencoderKL, ids: list[str]) -> Iterator[Encoded]:
    """The pictures as latents; one batch of them is held in memory."""
    shapes = [picture.size for name in ids for picture in open_pictures([name])]
    with tqdm(total=len(ids), desc="latents", unit="picture", mininterval=1) as bar:
        for part in batches(ids, shapes):
            pictures = torch.stack([to_tensor(image) for image in open_pictures(part)])
            for name, mean, std in zip(part, *encode(vae, pictures), strict=True):
                sha = hashlib.sha256((PICTURES / f"{name}.png").read_bytes()).hexdigest()
                yield Encoded(name, sha, mean, std)
            bar.update(len(part))


def main() -> None:
    settings = load_settings()
    model, revision = settings.base.model, settings.base.revision
    device = resolve_device(settings.base.device)
    ids = used_ids()
    about = {"model": model, "vae": digest(locate(model, revision) / "vae"), "precision": "fp32"}
    with alone_on(device):
        vae = load_vae(model, revision, device)
        written = write_latents(encoded(vae, ids), about)
    print(f"{len(ids)} pictures, {written / 1024:.0f} KiB in {LATENTS}")


if __name__ == "__main__":
    run_stage(main)
