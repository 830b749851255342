"""Which base model: as the settings name it, and what that comes to on this machine.

model = ModelIdentity("models/toyworld")
model.place         # its folder or file; a hub id is fetched first
model.resolution    # 64, from its configs alone
model.sha256        # of the files that loading it reads
"""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pseudoword.base.hub import commit_of
from pseudoword.base.location import (
    NoNativeResolution,
    configs,
    configs_digest,
    digest,
    family,
    locate,
    locate_vae,
    read_config,
)


@dataclass(frozen=True)
class ModelIdentity:
    """A base model by its name, and where it lies, of which family and commit, with which digest, once these are asked.

    name      folder in diffusers layout, checkpoint file, or hub id
    revision  branch, tag or commit of a hub id; None for its default
    config    folder or hub id with the configs of a checkpoint file; None for those that diffusers takes for its layout
    vae       folder, file, hub id or id@revision of another VAE; None for the model's own

    What is not there or not fit raises a UserError that names the key of `base`.
    """

    name: str
    revision: str | None = None
    config: str | None = None
    vae: str | None = None

    @property
    def place(self) -> Path:
        """Its folder or file."""
        return locate(self.name, self.revision)

    @property
    def configs(self) -> Path:
        """The folder of its configs and tokenizers."""
        return configs(self.name, self.revision, self.config)

    @property
    def vae_place(self) -> Path:
        """The folder with the VAE's config.json, or its file."""
        return locate_vae(self.name, self.revision, self.vae)

    @cached_property
    def family(self) -> str:
        """sd1 | sd2 | sd1-inpainting | sd2-inpainting | sdxl"""
        return family(self.configs, self.name)

    @cached_property
    def resolution(self) -> int:
        """Side in px of the square pictures that it was trained on."""
        latent_side = read_config(self.configs, "unet/config.json").get("sample_size")
        if isinstance(latent_side, list):
            latent_side = max(latent_side)
        if not isinstance(latent_side, int):
            raise NoNativeResolution(self.name, latent_side)
        return latent_side * self._reduction("vae")

    @property
    def side_multiple(self) -> int:
        """Px that a picture's sides have to be a multiple of, so that the UNet can halve its latents at each level."""
        return self._reduction("vae") * self._reduction("unet")

    @property
    def context_widths(self) -> list[int]:
        """Of what the UNet makes its keys and values of: the text's, then those of its layers, ascending."""
        unet = read_config(self.configs, "unet/config.json")
        text, channels = int(unet["cross_attention_dim"]), unet["block_out_channels"]
        levels = [*zip(unet["down_block_types"], channels, strict=True)]
        levels += zip(unet["up_block_types"], reversed(channels), strict=True)
        levels.append((unet.get("mid_block_type") or "", channels[-1]))
        return [text, *sorted({int(width) for kind, width in levels if "CrossAttn" in kind} - {text})]

    def _reduction(self, part: str) -> int:
        """How many times smaller its lowest level is: each but the last halves."""
        levels = len(read_config(self.configs, f"{part}/config.json")["block_out_channels"])
        return int(2 ** (levels - 1))

    @property
    def commit(self) -> str | None:
        """Of a hub id."""
        return commit_of(self.place)

    @property
    def vae_commit(self) -> str | None:
        return commit_of(self.vae_place)

    @cached_property
    def sha256(self) -> str:
        """Over what is read of the model and of the VAE that it is used with."""
        return digest(self.place, self.vae)

    @cached_property
    def configs_sha256(self) -> str:
        """Over the configs and tokenizers that a checkpoint file is read with; empty where `sha256` covers them."""
        return "" if self.configs == self.place else configs_digest(self.configs)

    @cached_property
    def vae_sha256(self) -> str:
        """Over the VAE's folder, or over its file and the config that this is read with: the base model's."""
        place = self.vae_place
        if place.is_dir():
            return digest(place)
        return hashlib.sha256(f"{digest(place)}\n{configs_digest(self.configs / 'vae')}".encode()).hexdigest()

    def record(self) -> dict[str, Any]:
        """As the records of what was made with it name it; see `pseudoword.records.BaseModelRecord`."""
        record = {
            "name": self.name,
            "family": self.family,
            "resolution": self.resolution,
            "sha256": self.sha256,
            "commit": self.commit or "",
        }
        return record | ({"configs_sha256": self.configs_sha256} if self.configs_sha256 else {})
