"""The files of a tagger: the ONNX model, the list of its tags, and weights that the model keeps beside itself."""

import mmap
import os
import re
from pathlib import Path

from pseudoword.errors import UserError

MODEL = "model.onnx"
WD14, DEEPDANBOORU, CHARACTERS = "selected_tags.csv", "tags.txt", "tags-character.txt"

# An entry of ONNX's `external_data`, as Protobuf writes it: the key, then the length and the bytes of a file's name.
LOCATION = re.compile(rb"\x0a\x08location\x12([\x01-\x7f])")


class NoTagger(UserError):
    def __init__(self, model: str, reason: str) -> None:
        super().__init__(
            f"caption.tagger.model: '{model}' cannot be used as a tagger: {reason}\n"
            f"Set caption.tagger.model in params.yaml to an .onnx file or a folder with {MODEL}, beside it {WD14} or "
            f"{DEEPDANBOORU}; or to a hub id such as SmilingWolf/wd-vit-tagger-v3 with the network up or the model in "
            "the cache."
        )


def tagger_files(path: Path, model: str) -> tuple[Path, Path]:
    """The model's file and the file of its tags, of a folder or an .onnx file that the settings call `model`.

    Raises NoTagger.
    """
    if path.is_dir():
        path = path / MODEL
    if not path.is_file():
        raise NoTagger(model, f"there is no file {path}")
    for name in (WD14, DEEPDANBOORU):
        if path.with_name(name).is_file():
            return path, path.with_name(name)
    raise NoTagger(model, f"neither {WD14} nor {DEEPDANBOORU} lies beside {path}")


def weights_beside(model: Path) -> list[Path]:
    """The files that an ONNX model names as places of its weights and that are there, sorted."""
    if not model.stat().st_size:
        return []
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        names = {content[found.end() : found.end() + found[1][0]] for found in LOCATION.finditer(content)}
    # ONNX Runtime reads nothing outside the model's folder.
    paths = [model.parent / os.fsdecode(name) for name in names if b"\0" not in name]
    return sorted(path for path in paths if path.is_file())
