"""What was drawn and scored before, in the scratch: pictures and losses under a key of all that decides their bits."""

import hashlib
import os
import shutil
from pathlib import Path

from PIL import Image

from pseudoword.code import code_digest
from pseudoword.files import atomic, write_text
from pseudoword.fingerprint import fingerprint
from pseudoword.scratch import mark_used, prune, scratch

PACKAGES = ("torch", "diffusers", "transformers", "numpy", "pillow")


class Kept:
    """The pictures and losses of one model on one kind of hardware, with this code and these packages."""

    def __init__(self, *circumstances: object) -> None:
        self.folder = scratch("evaluate") / fingerprint((*circumstances, code_digest("evaluate")), PACKAGES)

    def picture(self, key: str) -> Path:
        """Where the picture of a key lies, or would lie."""
        return self.folder / f"{key}.png"

    def has_picture(self, key: str) -> bool:
        """Whether the picture is there and whole; it is kept for longer then."""
        path = self.picture(key)
        try:
            with Image.open(path) as picture:
                picture.load()
        except (OSError, SyntaxError):
            return False
        mark_used(path)
        return True

    def save_picture(self, key: str, picture: Image.Image) -> None:
        with atomic(self.picture(key)) as partial:
            picture.save(partial, "png")

    def copy_picture(self, key: str, path: Path) -> None:
        """Write the kept picture at `path`: the same file where links are possible, for dvc takes it away as one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as partial:
            shutil.copyfile(self.picture(key), partial)

    def loss(self, key: str) -> float | None:
        path = self.folder / f"{key}.loss"
        try:
            loss = float.fromhex(path.read_text())
        except (OSError, ValueError):
            return None
        mark_used(path)
        return loss

    def save_loss(self, key: str, loss: float) -> None:
        write_text(self.folder / f"{key}.loss", loss.hex())

    def prune(self) -> None:
        """Delete what nobody has used for long, here and of other circumstances."""
        if self.folder.exists():
            os.utime(self.folder)
            prune(self.folder)
            prune(self.folder.parent)


def key_of(*parts: object) -> str:
    """32 hex digits; any difference in the parts, each with a `repr` that tells all of it, gives others."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]
