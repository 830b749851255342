"""Where a base model lies on disk, and what its config files say of it."""

import hashlib
import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from pseudoword.errors import UserError

HASHED = (".safetensors", ".bin", ".json", ".txt")


class ModelNotFound(UserError):
    def __init__(self, model: str, reason: str) -> None:
        super().__init__(
            f"base.model: '{model}' is neither a folder in diffusers layout (one with a model_index.json) nor a hub id "
            f"that could be fetched: {reason}. Give a folder, or a hub id such as "
            "'stable-diffusion-v1-5/stable-diffusion-v1-5' with the network up or the model in the cache."
        )


class UnknownFamily(UserError):
    def __init__(self, model: str, found: str) -> None:
        super().__init__(
            f"base.model: '{model}' is {found}; this version learns words for Stable Diffusion 1.x and 2.x "
            "(StableDiffusionPipeline with one text encoder and a UNet of 4 input channels)."
        )


class NoNativeResolution(UserError):
    def __init__(self, model: str, found: object) -> None:
        super().__init__(
            f"base.model: '{model}' does not say what it was trained on: sample_size is {found} in its "
            "unet/config.json. Write the side of its latents there (64 for pictures of 512 px)."
        )


@cache
def locate(model: str, revision: str | None) -> Path:
    """The model's folder; a hub id is fetched into the hub's cache first. Raises ModelNotFound or UnknownFamily."""
    folder = Path(model)
    if not (folder / "model_index.json").is_file():
        if folder.exists():
            raise ModelNotFound(model, "the folder has no model_index.json")
        folder = _fetch(model, revision)
    _check_family(model, folder)
    return folder


def _fetch(model: str, revision: str | None) -> Path:
    from diffusers import DiffusionPipeline

    try:
        # Without the safety checker, which is larger than the model and judges nothing that is drawn here.
        return Path(DiffusionPipeline.download(model, revision=revision, safety_checker=None))
    # The hub client has errors of several families, its HTTP library others; all mean that the model is not to be had.
    except Exception as error:
        with suppress(Exception):
            return Path(
                DiffusionPipeline.download(model, revision=revision, safety_checker=None, local_files_only=True)
            )
        raise ModelNotFound(model, first_line(error)) from error


def first_line(error: Exception) -> str:
    """What an error says in one line; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _check_family(model: str, folder: Path) -> None:
    pipeline = read_config(folder, "model_index.json")["_class_name"]
    if pipeline != "StableDiffusionPipeline":
        raise UnknownFamily(model, f"a {pipeline}")
    channels = read_config(folder, "unet/config.json")["in_channels"]
    if channels != 4:
        raise UnknownFamily(model, f"a StableDiffusionPipeline whose UNet takes {channels} channels")


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """One JSON config of the model, raising ModelNotFound when it is missing or broken."""
    try:
        content: dict[str, Any] = json.loads((folder / name).read_text())
        return content
    except (OSError, ValueError) as error:
        raise ModelNotFound(str(folder), f"{name}: {error}") from error


def native_resolution(model: str, revision: str | None) -> int:
    """Side in px of the square pictures that the model was trained on, from its configs alone."""
    folder = locate(model, revision)
    latent_side = read_config(folder, "unet/config.json").get("sample_size")
    if isinstance(latent_side, list):
        latent_side = max(latent_side)
    if not isinstance(latent_side, int):
        raise NoNativeResolution(model, latent_side)
    return latent_side * _reduction(folder, "vae")


def side_multiple(model: str, revision: str | None) -> int:
    """Px that each side of a picture has to be a multiple of, so that the UNet can halve its latents at each level."""
    folder = locate(model, revision)
    return _reduction(folder, "vae") * _reduction(folder, "unet")


def _reduction(folder: Path, part: str) -> int:
    """How many times smaller its lowest level is: each but the last halves."""
    levels = len(read_config(folder, f"{part}/config.json")["block_out_channels"])
    return int(2 ** (levels - 1))


def digest(folder: Path) -> str:
    """SHA-256 over the names and contents of the model's weights and configs."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in HASHED:
            total.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
