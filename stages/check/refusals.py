"""What cannot work although each setting is valid: files that are missing or in the way."""

import difflib
import os
from collections.abc import Iterator
from pathlib import Path

from pseudoword.base.hub import first_line
from pseudoword.captions.tagger_files import NoTagger, tagger_files
from pseudoword.links import waits_for_ever
from pseudoword.settings.loading import Settings
from pseudoword.settings.word import EMBEDDINGS
from stages.check.folder import folder_problems

FOLDERS = ("caption.model", "judge.images", "judge.texts")  # that transformers saves, or a hub id
WEIGHTS = (".safetensors", ".ckpt", ".pt", ".bin", ".onnx")


def refusals(settings: Settings) -> list[str]:
    """One line for each thing that has to change first."""
    models = {
        "base.model": settings.base.model,
        "base.config": settings.base.config,
        "base.vae": settings.base.vae,
        "caption.model": settings.caption.model,
        "caption.tagger.model": settings.caption.tagger.model,
        "preprocess.focal.face_model": str(settings.preprocess.focal.face_model or ""),
        "judge.images": settings.judge.images,
        "judge.texts": settings.judge.texts,
    }
    return [
        *folder_problems(settings.data.folder),
        *_name_in_use(settings.word.name, settings.word.overwrite),
        *(
            f"{key}: {problem}"
            for key, model in models.items()
            if model and (problem := missing_file(model) or (key in FOLDERS and no_folder_of_a_model(model)))
        ),
        *_no_tagger(settings.caption.tagger.model),
    ]


def _no_tagger(model: str | None) -> Iterator[str]:
    """Why a path that is there is no tagger, as far as the names of files tell."""
    if model and Path(model).exists() and not waits_for_ever(Path(model)):
        try:
            tagger_files(Path(model), model)
        except NoTagger as error:
            yield first_line(error)


def _name_in_use(name: str, overwrite: bool) -> Iterator[str]:
    if not overwrite and EMBEDDINGS.is_dir():
        for path in sorted(EMBEDDINGS.iterdir()):
            if path.stem.lower() == name:
                yield f"word.name: {path} has the name '{name}' already; choose another, or set word.overwrite: true"


def missing_file(model: str) -> str:
    """Why a model that can only be a path cannot be read; empty where it can, or where it may be a hub id."""
    path = Path(model)
    if waits_for_ever(path):
        return f"'{model}' is a pipe or a device"
    if path.exists():
        readable = os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0))
        return "" if readable else f"'{model}' may not be read; change its permissions"
    if model.startswith("~"):
        return f"found '{model}', wanted the path in full: {path.expanduser()}"
    beside = sorted(file.name for file in path.parent.iterdir()) if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, 1)
    # `owner/name`, or `name` alone, is a hub id, but not where a folder `owner` here has nearly that name.
    is_path = path.suffix in WEIGHTS or path.is_absolute() or model.startswith(".") or len(path.parts) > 2
    if (not is_path and not (near and len(path.parts) == 2)) or "@" in model:
        return ""
    return f"found '{model}', which is not there" + (f", did you mean '{path.parent / near[0]}'?" if near else "")


def no_folder_of_a_model(model: str) -> str:
    """Why a path is not the folder of a model; empty where it is one, or where there is nothing, as of a hub id."""
    path = Path(model)
    if not path.exists() or (path / "config.json").is_file():
        return ""
    found = "a folder without a config.json" if path.is_dir() else "a file"
    return f"'{model}' is {found}, wanted a folder saved by transformers, or a hub id"
