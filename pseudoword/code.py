"""Which code a stage runs: outputs/code/<stage>.txt, one line for each module, with a digest of what it means.

`check` writes the lists; a stage names by its own what it keeps in .scratch, so that other code never takes it up.
"""

from pathlib import Path

from pseudoword.errors import UserError
from pseudoword.files import sha256_of

FOLDER = Path("outputs/code")


class NoList(UserError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: there is no such file. The stage check writes it: run `dvc repro check`.")


def code_file(stage: str) -> Path:
    return FOLDER / f"{stage}.txt"


def code_digest(stage: str) -> str:
    """SHA-256 of the stage's list: another one wherever the code that it runs means something else. Raises NoList."""
    path = code_file(stage)
    try:
        return sha256_of(path)
    except FileNotFoundError:
        raise NoList(path) from None
