"""Files of prompts, for training and for evaluation, in which the word and a picture's caption have places."""

from pathlib import Path

from pseudoword.errors import UserError

NAME, FILEWORDS = "[name]", "[filewords]"


class BadTemplate(UserError):
    def __init__(self, path: Path, found: str) -> None:
        super().__init__(f"{path}: {found}. Each line is one prompt that holds {NAME}, and {FILEWORDS} if you like.")


def read_templates(path: Path) -> list[str]:
    """The prompts of a template file, one a line; empty lines are skipped. Raises BadTemplate."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadTemplate(path, f"cannot be read ({error})") from None
    templates = [line for line in lines if line]
    if not templates:
        raise BadTemplate(path, "has no prompts")
    for line in templates:
        if NAME not in line:
            raise BadTemplate(path, f"'{line}' does not hold {NAME}, so the word would learn nothing from it")
    return templates
