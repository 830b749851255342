"""Drafts that were made before: a picture is drafted once for each model and its settings.

They lie outside dvc's outs, which dvc deletes before a stage runs: .scratch/caption/<fingerprint>/<picture>.txt. Each
is written as soon as it is made, so a stopped stage goes on, and one more picture costs one more draft.
"""

import hashlib
from typing import Any, Protocol

from PIL import Image

from pseudoword.code import code_digest
from pseudoword.files import write_text
from pseudoword.fingerprint import fingerprint
from pseudoword.pictures.prepared import PicturesUnreadable, open_pictures
from pseudoword.progress import Bar
from pseudoword.results.places import PICTURES
from pseudoword.scratch import scratch

PACKAGES = ("torch", "transformers", "onnxruntime", "pillow", "numpy")


class Drafter(Protocol):
    key: tuple[Any, ...]  # all that a draft depends on besides the picture

    def draft(self, pictures: list[Image.Image]) -> list[str]: ...


def draft_all(drafter: Drafter, ids: list[str], batch: int) -> list[str]:
    """The draft of each picture, in the order of `ids`; at most `batch` pictures are open at once."""
    folder = scratch("caption") / fingerprint((drafter.key, code_digest("caption")), PACKAGES)
    files = {name: folder / f"{_digest(name)}.txt" for name in ids}
    waiting = [name for name in ids if not files[name].is_file()]
    done = len(ids) - len(waiting)
    with Bar[str]("caption", label=drafter.key[0], total=len(ids), initial=done) as bar:
        for start in range(0, len(waiting), batch):
            part = waiting[start : start + batch]
            for name, text in zip(part, drafter.draft(open_pictures(part)), strict=True):
                write_text(files[name], text)
            bar.update(len(part))
    return [files[name].read_text(encoding="utf-8") for name in ids]


def _digest(name: str) -> str:
    path = PICTURES / f"{name}.png"
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:32]
    except OSError as error:
        raise PicturesUnreadable(path, str(error)) from None
