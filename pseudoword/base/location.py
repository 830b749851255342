"""Where a base model lies on disk, and what its config files say of it."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from pseudoword.base.families import family_of
from pseudoword.base.hub import CONFIGS, NotFetched, fetch, fetch_model, weights_of
from pseudoword.base.single_file import SUFFIXES, home_of
from pseudoword.errors import UserError
from pseudoword.files import sha256_of

PARTS = ("scheduler", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "unet", "vae")
CONFIG_SUFFIXES = (".json", ".txt", ".model", ".jinja")


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
    try:
        folder = fetch(model, revision, CONFIGS)
        if not (folder / "model_index.json").is_file():
            raise NotFetched("it has no model_index.json; a checkpoint in it is a file to download and name here")
        family(folder, model)  # before the weights of one that is not taken come
        return fetch_model(model, folder.name, PARTS)
    except NotFetched as error:
        raise ModelNotFound(model, str(error)) from error


@cache
def configs(model: str, revision: str | None, config: str | None = None) -> Path:
    """The folder of the model's configs and tokenizers: its own, or for a single file that of its architecture.

    config  a folder in diffusers layout or a hub id for a single file; None: what diffusers takes for its layout
    """
    place = locate(model, revision)
    if place.is_dir():
        return place
    config = config or home_of(place)
    folder = Path(config)
    if not folder.is_dir():
        try:
            folder = fetch(config, None, CONFIGS)
        except NotFetched as error:
            raise NoConfigs(config, str(error)) from error
    if not (folder / "model_index.json").is_file():
        raise NoConfigs(config, "it has no model_index.json")
    return folder


def locate_vae(model: str, revision: str | None, vae: str | None) -> Path:
    """The folder with the config.json of `vae`, or its file; without one of the model's own. Raises NoVae."""
    if vae is None:
        place = locate(model, revision)
        return place / "vae" if place.is_dir() else place
    return _located_vae(vae)


@cache
def _located_vae(vae: str) -> Path:
    place = Path(vae)
    if place.is_file():
        return place
    if not place.exists():
        try:
            place = fetch_model(vae, None, ("vae", "."))
        except NotFetched as error:
            raise NoVae(vae, str(error)) from error
    for folder in (place / "vae", place):
        if (folder / "config.json").is_file():
            return folder
    raise NoVae(vae, "it has no config.json")


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


def digest(place: Path, vae: str | None = None) -> str:
    """SHA-256 of a model's file, or over the names and contents of the weights and configs that are read of its folder.

    What else lies in the folder does not count, so a hub's model has the same digest in every cache.

    place  of `locate`; or the folder of one part
    vae    folder, file or hub id of a VAE that takes the place of the model's own
    """
    if vae is not None:
        return hashlib.sha256(f"{digest(place)}\n{digest(_located_vae(vae))}".encode()).hexdigest()
    return sha256_of(place) if place.is_file() else _digest_of(place, _read_of(place))


def configs_digest(place: Path) -> str:
    """SHA-256 over the names and contents of the configs and tokenizers in the folder of a pipeline or of a part.

    Weights beside them do not count: a checkpoint file brings its own.
    """
    return _digest_of(place, [name for name in _read_of(place) if name.endswith(CONFIG_SUFFIXES)])


def _digest_of(place: Path, names: list[str]) -> str:
    total = hashlib.sha256()
    for name in names:
        total.update(name.encode())
        total.update(bytes.fromhex(sha256_of(place / name)))
    return total.hexdigest()


def _read_of(place: Path) -> list[str]:
    """Names of the files of a pipeline's or a part's folder that loading it reads."""
    folders = [place / part for part in PARTS] if (place / "model_index.json").is_file() else []
    paths = [path for folder in [place, *folders] for path in folder.glob("*") if path.is_file()]
    names = [path.relative_to(place).as_posix() for path in paths]
    return sorted([name for name in names if name.endswith(CONFIG_SUFFIXES)] + weights_of(names))
