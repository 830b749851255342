"""Where a base model lies on disk, and what its config files say of it."""

import hashlib
import json
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from pseudoword.base.families import family_of
from pseudoword.base.single_file import SUFFIXES, home_of
from pseudoword.errors import UserError

HASHED = (".safetensors", ".bin", ".json", ".txt")
CONFIGS = ["*.json", "*/*.json", "*.txt", "*/*.txt"]


class ModelNotFound(UserError):
    def __init__(self, model: str, reason: str) -> None:
        super().__init__(
            f"base.model: '{model}' is neither a folder in diffusers layout (one with a model_index.json), nor a "
            f"checkpoint file ({', '.join(SUFFIXES)}), nor a hub id that could be fetched: {reason}. Give a folder, a "
            "file, or a hub id such as 'stable-diffusion-v1-5/stable-diffusion-v1-5' with the network up or the model "
            "in the cache."
        )


class NoConfigs(UserError):
    def __init__(self, config: str, reason: str) -> None:
        super().__init__(
            f"base.config: a single-file checkpoint needs the configs and tokenizers of its architecture, and those of "
            f"'{config}' are not to be had: {reason}. Give a folder in diffusers layout, or a hub id with the network "
            "up or the model in the cache."
        )


class NoVae(UserError):
    def __init__(self, vae: str, reason: str) -> None:
        super().__init__(
            f"base.vae: '{vae}' holds no AutoencoderKL that fits the model: {reason}. Give a folder with its "
            "config.json, a file, a hub id such as 'stabilityai/sd-vae-ft-mse', or null for the model's own."
        )


class NoNativeResolution(UserError):
    def __init__(self, model: str, found: object) -> None:
        super().__init__(
            f"base.model: '{model}' does not say what it was trained on: sample_size is {found} in its "
            "unet/config.json. Write the side of its latents there (64 for pictures of 512 px)."
        )


@cache
def locate(model: str, revision: str | None) -> Path:
    """The model's folder, or its file; a hub id is fetched into the hub's cache first.

    Raises ModelNotFound or UnknownFamily.
    """
    place = Path(model)
    if place.is_file() and place.suffix in SUFFIXES:
        return place
    if not (place / "model_index.json").is_file():
        if place.exists():
            kind = "folder has no model_index.json" if place.is_dir() else f"file does not end in {', '.join(SUFFIXES)}"
            raise ModelNotFound(model, f"the {kind}")
        place = _fetch(model, revision)
    family(place, model)
    return place


def _fetch(model: str, revision: str | None) -> Path:
    from diffusers import DiffusionPipeline

    def download(offline: bool) -> Path:
        # Without the safety checker, which is larger than the model and judges nothing that is drawn here.
        options = {"safety_checker": None, "local_files_only": offline}
        return Path(DiffusionPipeline.download(model, revision=revision, **options))

    return _fetched(download, lambda reason: ModelNotFound(model, reason))


def _fetched(download: Callable[[bool], Path], refusal: Callable[[str], UserError]) -> Path:
    """From the hub, else from its cache."""
    try:
        return download(False)
    # The hub client has errors of several families, its HTTP library others; all mean that it is not to be had.
    except Exception as error:
        with suppress(Exception):
            return download(True)
        raise refusal(first_line(error)) from error


def first_line(error: Exception) -> str:
    """What an error says in one line; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


@cache
def configs(model: str, revision: str | None, config: str | None = None) -> Path:
    """The folder of the model's configs and tokenizers: its own, or for a single file that of its architecture.

    config  a folder in diffusers layout or a hub id for a single file; None: what diffusers takes for its layout
    """
    place = locate(model, revision)
    if place.is_dir():
        return place
    config = config or home_of(place)
    if not Path(config).is_dir():
        return _snapshot(config, CONFIGS, NoConfigs)
    if not (Path(config) / "model_index.json").is_file():
        raise NoConfigs(config, "the folder has no model_index.json")
    return Path(config)


def locate_vae(model: str, revision: str | None, vae: str | None) -> Path:
    """The folder with the config.json of `vae`, or its file; without one of the model's own. Raises NoVae."""
    if vae is None:
        place = locate(model, revision)
        return place / "vae" if place.is_dir() else place
    return _located_vae(vae)


def _located_vae(vae: str) -> Path:
    place = Path(vae)
    if place.is_file():
        return place
    if not place.exists():
        names = [f"{folder}{name}" for folder in ("", "vae/") for name in ("config.json", "diffusion_pytorch_model*")]
        place = _snapshot(vae, names, NoVae)
    for folder in (place / "vae", place):
        if (folder / "config.json").is_file():
            return folder
    raise NoVae(vae, "the folder has no config.json")


def _snapshot(name: str, patterns: list[str], refusal: Callable[[str, str], UserError]) -> Path:
    from huggingface_hub import snapshot_download

    def download(offline: bool) -> Path:
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=offline))

    return _fetched(download, lambda reason: refusal(name, reason))


def family(folder: Path, model: str) -> str:
    """The family of the model whose configs lie in `folder`. Raises UnknownFamily."""
    files = ("model_index.json", "unet/config.json", "scheduler/scheduler_config.json")
    # A model of another family need not have all of them; a part that is missing is told when it is loaded.
    contents = [read_config(folder, name) if (folder / name).is_file() else {} for name in files]
    return family_of(model, *contents)


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """One JSON config of the model, raising ModelNotFound when it is missing or broken."""
    try:
        content: dict[str, Any] = json.loads((folder / name).read_text())
        return content
    except (OSError, ValueError) as error:
        raise ModelNotFound(str(folder), f"{name}: {error}") from error


def native_resolution(model: str, revision: str | None, config: str | None = None) -> int:
    """Side in px of the square pictures that the model was trained on, from its configs alone."""
    folder = configs(model, revision, config)
    latent_side = read_config(folder, "unet/config.json").get("sample_size")
    if isinstance(latent_side, list):
        latent_side = max(latent_side)
    if not isinstance(latent_side, int):
        raise NoNativeResolution(model, latent_side)
    return latent_side * _reduction(folder, "vae")


def side_multiple(model: str, revision: str | None, config: str | None = None) -> int:
    """Px that each side of a picture has to be a multiple of, so that the UNet can halve its latents at each level."""
    folder = configs(model, revision, config)
    return _reduction(folder, "vae") * _reduction(folder, "unet")


def _reduction(folder: Path, part: str) -> int:
    """How many times smaller its lowest level is: each but the last halves."""
    levels = len(read_config(folder, f"{part}/config.json")["block_out_channels"])
    return int(2 ** (levels - 1))


def digest(place: Path, vae: str | None = None) -> str:
    """SHA-256 of a model's file, or over the names and contents of its weights and configs; with its own VAE, of both.

    place  of `locate`
    vae    folder, file or hub id of a VAE that takes the place of the model's own
    """
    if vae is not None:
        return hashlib.sha256(f"{digest(place)}\n{digest(_located_vae(vae))}".encode()).hexdigest()
    if place.is_file():
        return _sha256(place).hex()
    total = hashlib.sha256()
    for path in sorted(place.rglob("*")):
        if path.is_file() and path.suffix in HASHED:
            total.update(path.relative_to(place).as_posix().encode())
            total.update(_sha256(path))
    return total.hexdigest()


def _sha256(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
