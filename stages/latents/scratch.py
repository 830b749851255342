"""What was encoded before, by the content of the picture, so that one changed picture is one picture's work.

It lies outside dvc's outs, which dvc deletes before a stage runs. A folder is named by a fingerprint of all that the
bits of a latent depend on besides the picture, so that a changed VAE never finds the latents of another.
"""

import hashlib
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from pseudoword.base.placement import hardware
from pseudoword.code import code_digest
from pseudoword.fingerprint import fingerprint
from pseudoword.formats.tensors import save_tensors
from pseudoword.scratch import mark_used, prune, scratch

PACKAGES = ("torch", "diffusers", "numpy", "pillow")


def key_of(device: str, *settings: str) -> str:
    """A name for one way to encode: the settings, the code, the packages and the hardware that rounds."""
    return fingerprint((hardware(device), *settings, code_digest("latents")), PACKAGES)


class Scratch:
    """The latents of pictures by the SHA-256 of their files."""

    def __init__(self, key: str) -> None:
        self.folder = scratch("latents") / key

    def save(self, picture: str, mean: Tensor, std: Tensor) -> None:
        metadata = {"picture": picture, "sha256": _digest(mean, std)}
        save_tensors(self._path(picture), {"mean": mean.clone(), "std": std.clone()}, metadata)

    def load(self, picture: str) -> tuple[Tensor, Tensor] | None:
        """Mean and standard deviation, (C, h, w) each; None where they are missing, cut off or not what was saved."""
        try:
            with safe_open(self._path(picture), "pt") as file:
                metadata, mean, std = file.metadata(), file.get_tensor("mean"), file.get_tensor("std")
        except (OSError, SafetensorError):
            return None
        if metadata != {"picture": picture, "sha256": _digest(mean, std)}:
            return None
        mark_used(self._path(picture))
        return mean, std

    def prune(self) -> None:
        """Delete what nobody has used for long, here and of other ways to encode."""
        prune(self.folder)
        prune(self.folder.parent)

    def _path(self, picture: str) -> Path:
        return self.folder / f"{picture}.safetensors"


def _digest(mean: Tensor, std: Tensor) -> str:
    total = hashlib.sha256()
    for tensor in (mean, std):
        total.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        total.update(tensor.contiguous().numpy().tobytes())
    return total.hexdigest()
