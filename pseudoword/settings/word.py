"""Section word."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from pseudoword.settings.fields import Auto, Section

EMBEDDINGS = Path("data/embeddings")
NAME = r"^[\w][\w.-]{0,63}$"


def _nameable(name: object) -> object:
    if isinstance(name, str) and not re.search(NAME, name):
        near = re.sub(r"[^\w.-]+", "-", name).strip("-.")[:64].lower()
        raise ValueError(
            "up to 64 letters, digits, '_', '-' and '.', since it also names files"
            + (f"; for example '{near}'" if near else "")
        )
    return name


def _lower_case(name: str) -> str:
    # diffusers lowers a prompt's text before it looks for the names of a word's second and later vectors.
    if name != name.lower():
        raise ValueError(f"lower case, because diffusers finds no other names; for example '{name.lower()}'")
    return name


def _file_name(path: Path) -> Path:
    # The folder is one that DVC watches: a file elsewhere could change unnoticed.
    if len(path.parts) != 1 or path.name in ("..", "."):
        raise ValueError(f"the name of a file in {EMBEDDINGS}, without a folder")
    return path


WordName = Annotated[str, Field(pattern=NAME), BeforeValidator(_nameable), AfterValidator(_lower_case)]


class Word(Section):
    name: WordName = Field(
        description="What you will write in a prompt. Lower-case letters, digits, '_', '-' and '.'; not a word that "
        "the model knows.",
    )
    vectors: Auto | Annotated[int, Field(strict=True, ge=1, le=75)] = Field(
        "auto",
        description="Vectors per token. More fit harder and overfit sooner; auto goes by the number of pictures.",
    )
    init_text: str = Field(
        "*", description="Words to start from, best the plain name of the thing. Empty starts from zeros."
    )
    init_file: Annotated[Path, AfterValidator(_file_name)] | None = Field(
        None, description="An embedding file in data/embeddings to start from in place of init_text."
    )
    overwrite: bool = Field(False, strict=True, description="Allow a name that a file in data/embeddings has already.")
