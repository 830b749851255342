"""Files of prompts, for training and for evaluation, in which the word and a picture's caption have places."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pseudoword.errors import UserError
from pseudoword.links import waits_for_ever

NAME, FILEWORDS = "[name]", "[filewords]"
MAX_PROMPT_BYTES = 10_000  # some thirty times what a model reads at once; more is no prompt, and would fill the memory


class BadTemplate(UserError):
    def __init__(self, path: Path, found: str) -> None:
        super().__init__(f"{path}: {found}. Each line is one prompt that holds {NAME}, and {FILEWORDS} if you like.")


def _in(folder: Path, names: list[str]) -> str:
    return f"; {folder} has {', '.join(names)}" if names else ""


@dataclass(frozen=True)
class Prompts:
    """A file of prompts and what it holds: one prompt a line."""

    path: Path
    lines: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> "Prompts":
        """Empty lines are skipped. Raises BadTemplate."""
        if waits_for_ever(path):
            raise BadTemplate(path, "is a pipe or a device")
        try:
            lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
        except FileNotFoundError:
            beside = sorted(file.name for file in path.parent.glob("*.txt"))
            near = difflib.get_close_matches(path.name, beside, 1)
            hint = f", did you mean '{near[0]}'" if near else _in(path.parent, beside)
            raise BadTemplate(path, f"there is no such file{hint}") from None
        except UnicodeDecodeError:
            raise BadTemplate(path, "is not text in UTF-8") from None
        except OSError as error:
            raise BadTemplate(path, f"cannot be read ({error.strerror})") from None
        prompts = tuple(line for line in lines if line)
        if not prompts:
            raise BadTemplate(path, "has no prompts")
        if (longest := max(len(line.encode()) for line in prompts)) > MAX_PROMPT_BYTES:
            raise BadTemplate(path, f"a line holds {longest} bytes, and a prompt {MAX_PROMPT_BYTES} at most")
        return cls(path, prompts)

    def check_names(self) -> Self:
        """Raises BadTemplate for a line without [name]."""
        for line in self.lines:
            if NAME not in line:
                raise BadTemplate(self.path, f"'{line}' does not hold {NAME}, so the word would learn nothing from it")
        return self
