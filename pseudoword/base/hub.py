"""Models from the Hugging Face hub: a hub id becomes a folder in the hub's cache on this machine.

    folder = fetch("openai/clip-vit-base-patch32", None, CONFIGS)             # its small files
    folder = fetch_model("stabilityai/sd-vae-ft-mse@31f26fd", None)           # with the weights of its main folder
    folder = fetch_model("someone/pipeline", "fp16", ("unet", "vae"))         # with those of these parts
    commit_of(folder)                                                         # "31f26fd..."

The hub is asked which commit a branch stands for at each call; where it does not answer, the cache's word counts. Only
the weights that are read are fetched: safetensors rather than pickles, full rather than half precision.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path, PurePosixPath
from pickle import UnpicklingError

from safetensors import SafetensorError

from pseudoword.errors import UserError

# How diffusers and transformers say that a folder is damaged, something else, or has a pickle with more than tensors.
UNREADABLE = (
    OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError, EOFError, SafetensorError,
    UnpicklingError,
)  # fmt: skip
CONFIGS = ["*.json", "*.txt", "*.model", "*.jinja"]
WEIGHTS = re.compile(r"(?:diffusion_pytorch_model|pytorch_model|model)(\.fp16)?(?:-\d+-of-\d+)?\.(safetensors|bin)")


class OtherModel(UserError):
    """Something was made with another model than the settings name now."""

    def __init__(self, made: str, commit: str, found: str | None, where: str, stage: str) -> None:
        """made   what, of which model; that was at `commit`, and is at `found` now
        where  a commit is named in the settings
        stage  makes it anew
        """
        states = f" (commit {commit}, now {found})" if commit and found else ""
        back = f"name that commit in {where} to go on with it, or run" if commit else "run"
        super().__init__(
            f"{made}{states}: its branch has moved on the hub, or its files have changed. To mend it, {back} "
            f"`dvc repro -f -s {stage}`, then `dvc repro`."
        )


class NotFetched(Exception):
    """Why there is no folder for a hub id: the end of a sentence, for the setting that named it."""


def fetch(name: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """The folder of one commit in the cache, with all of its files that match. Raises NotFetched.

    name      hub id, or `id@revision` where no setting of its own says which
    revision  branch, tag or commit; None is the hub's main branch
    """
    from huggingface_hub import HfApi, get_cached_repo_tree, snapshot_download

    name, _, pinned = name.partition("@")
    revision = pinned or revision
    asked = revision
    with suppress(Exception):  # whatever it is, the download says it
        asked = HfApi().resolve_revision(name, revision=revision)
        get_cached_repo_tree(name, revision=asked)
        # Without progress bars where all of it is in the cache.
        return Path(snapshot_download(name, revision=asked, allow_patterns=list(patterns), local_files_only=True))
    try:
        return Path(snapshot_download(name, revision=asked, allow_patterns=list(patterns)))
    # The hub client has errors of several families, its HTTP library others; all mean that it is not to be had.
    except Exception as error:
        raise NotFetched(_reason(error, revision)) from error


def fetch_model(name: str, revision: str | None, parts: Sequence[str] = (".",)) -> Path:
    """The same with the configs of these folders of it, and their weights. Raises NotFetched."""
    from huggingface_hub import get_cached_repo_tree
    from huggingface_hub.errors import CachedRepoTreeNotFoundError

    folder = fetch(name, revision, CONFIGS)
    try:
        listed = [file.path for file in get_cached_repo_tree(name.partition("@")[0], revision=folder.name)]
    except CachedRepoTreeNotFoundError:  # a cache that an older client made
        listed = [path.relative_to(folder).as_posix() for path in folder.rglob("*")]
    chosen = [path for path in weights_of(listed) if PurePosixPath(path).parent.as_posix() in parts]
    return fetch(name.partition("@")[0], folder.name, chosen) if chosen else folder


def weights_of(names: Iterable[str]) -> list[str]:
    """Of the names of files those of the weights that are read: in each folder one kind."""

    def folder(name: str) -> str:
        return PurePosixPath(name).parent.as_posix()

    chosen: list[str] = []
    for _, group in groupby(sorted(names, key=lambda name: (folder(name), name)), folder):
        kinds: dict[tuple[bool, bool], list[str]] = {}
        for name in group:
            if found := WEIGHTS.fullmatch(PurePosixPath(name).name):
                kinds.setdefault((found[2] == "bin", found[1] is not None), []).append(name)
        chosen += kinds[min(kinds)] if kinds else []
    return chosen


def commit_of(place: Path) -> str | None:
    """The commit of a folder in the hub's cache, or of one below it; None for one that lies elsewhere."""
    for folder in (place, place.parent):
        if folder.parent.name == "snapshots":
            return folder.name
    return None


def first_line(error: Exception) -> str:
    """An error's message in one line; its kind where it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _reason(error: Exception, revision: str | None) -> str:
    from huggingface_hub import constants, errors

    cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) else error
    match error:
        case errors.HFValidationError():
            return "it is no file or folder here, and a hub id is written as owner/name"
        case errors.GatedRepoError():
            return (
                f"the hub gives it only to those who accepted its terms: do so on its page at {constants.ENDPOINT}, "
                "then run `hf auth login` or set HF_TOKEN"
            )
        case errors.RepositoryNotFoundError():
            return (
                "it is no file or folder here, and the hub knows no such model; for a private one run `hf auth login` "
                "or set HF_TOKEN"
            )
        case errors.RevisionNotFoundError():
            return f"the hub has no branch, tag or commit of it that is called '{revision}'"
        case errors.LocalEntryNotFoundError():
            return (
                f"it is no file or folder here, the hub does not answer ({_cause(cause)}), and the cache lacks it or a "
                "part of it"
            )
        case OSError() if not isinstance(error, errors.HfHubHTTPError):
            return f"the cache cannot be written or read ({first_line(error)})"
    return f"the download broke off ({first_line(error)}); what has come is kept, so run it again"


def _cause(cause: BaseException | None) -> str:
    return first_line(cause) if isinstance(cause, Exception) else "it is not to be asked"
