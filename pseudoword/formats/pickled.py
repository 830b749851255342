"""torch's pickled files (.pt, .bin), read without running what they say and written so that A1111 takes them.

Reading allows plain tensors, text, numbers, lists and dicts. Writing keeps only the members of the zip that the
safe-unpickle gate of every A1111 version knows: torch adds more with each release, and one is enough to be refused.
"""

import io
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch

from pseudoword.errors import UserError
from pseudoword.files import write_bytes
from pseudoword.formats.embedding import BadEmbedding

MAX_BYTES = 64 * 2**20  # of the file and of what it unpacks to: a whole model is refused without loading it
ALLOWED_MEMBERS = re.compile(r"[^/]+/(data\.pkl|data/\d+|version)")
CUT = "it is cut off or damaged"


class ParameterDict:
    """Stands in for torch's class of that name, whose objects would take over any attribute that a file gives them."""

    parameters: dict[object, object] = {}  # noqa: RUF012 -- what an object without a state has

    def __setstate__(self, state: object) -> None:
        parameters = state.get("_parameters") if isinstance(state, dict) else None
        self.parameters = parameters if isinstance(parameters, dict) else {}


def load_pickled(
    path: Path, max_bytes: int = MAX_BYTES, refused: Callable[[Path, str], UserError] = BadEmbedding
) -> object:
    """The content of the file; no code of it is run. Raises `refused`, and UserError when there is no file.

    max_bytes  of the file and of what it unpacks to
    """
    _check_extent(path, max_bytes, refused)
    content = io.BytesIO(path.read_bytes())  # without its name, whose extension torch would go by
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([_STAND_IN]):
            warnings.simplefilter("ignore")  # about the pickle's age
            return torch.load(content, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise refused(path, "its pickle is damaged, or asks to run code, which is never done") from None
    # A stream of wrong instructions can end in an error of any kind.
    except Exception:
        raise refused(path, CUT) from None


_STAND_IN = (ParameterDict, "torch.nn.modules.container.ParameterDict")


def _check_extent(path: Path, max_bytes: int, refused: Callable[[Path, str], UserError]) -> None:
    try:
        extent = path.stat().st_size
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                members = file.infolist()
                if not any(Path(member.filename).name == "data.pkl" for member in members):
                    raise refused(path, f"it is a zip archive of {len(members)} files; unpack it first")
                extent = max(extent, sum(member.file_size for member in members))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        raise refused(path, CUT) from None
    if extent > max_bytes:
        raise refused(path, f"it is of {extent / 2**20:.0f} MiB, and more than {max_bytes // 2**20} are not read")


def save_pickled(path: Path, content: object) -> None:
    """Write `content` atomically; equal content gives equal bytes."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, portable(buffer.getvalue()))


def portable(content: bytes) -> bytes:
    """A zip of torch's with the members that every reader knows, stored, all with the same date."""
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as target:
        for name in source.namelist():
            if ALLOWED_MEMBERS.fullmatch(name):
                target.writestr(zipfile.ZipInfo(name), source.read(name))
    return packed.getvalue()
