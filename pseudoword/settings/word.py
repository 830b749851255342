"""Section word."""

import errno
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, PlainSerializer, ValidationInfo, WithJsonSchema

from pseudoword.errors import UserError
from pseudoword.files import sha256_of
from pseudoword.formats.keys import is_reserved
from pseudoword.links import waits_for_ever
from pseudoword.settings.fields import Auto, Section, content_of
from pseudoword.settings.kind import Kind

EMBEDDINGS = Path("data/embeddings")
NAME = r"^[\w][\w.-]{0,63}$"


def can_name(name: str) -> bool:
    """Whether a word, a hypernetwork and their files can be called so."""
    return re.fullmatch(NAME, name) is not None


def _nameable(name: object) -> object:
    if isinstance(name, str) and not can_name(name):
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


def _free(name: str) -> str:
    if is_reserved(name):
        raise ValueError("another name: to other tools this one is a mark of a file's format")
    return name


class InitFileChanged(UserError):
    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is another file than when the pipeline began. Run `dvc repro` again.")


@dataclass(frozen=True)
class InitFile:
    """An embedding file in data/embeddings; `path` is relative to there, `word` the one of several that it holds."""

    path: Path
    sha256: str
    word: str | None = None

    @classmethod
    def read(cls, path: Path, word: str | None = None) -> "InitFile":
        """Raises OSError."""
        if waits_for_ever(EMBEDDINGS / path):
            raise OSError(errno.EINVAL, "it is a pipe or a device", str(EMBEDDINGS / path))
        return cls(path, sha256_of(EMBEDDINGS / path), word)

    def __str__(self) -> str:
        return self.path.as_posix() if self.word is None else f"{self.path.as_posix()}:{self.word}"

    def checked(self) -> Path:
        """`path`, when the file is still the one that was read. Raises InitFileChanged."""
        try:
            if sha256_of(EMBEDDINGS / self.path) == self.sha256:
                return self.path
        except OSError:
            pass
        raise InitFileChanged(EMBEDDINGS / self.path)


def _init_file(value: object, info: ValidationInfo) -> object:
    if isinstance(value, InitFile):
        return value
    if not isinstance(value, str | Path):
        raise ValueError(f"the name of a file in {EMBEDDINGS}, without a folder")
    path, word = _file_and_word(str(value), info)
    # A name is no path: the file lies with the others, where `list` shows it.
    if len(path.parts) != 1 or path.name in ("..", "."):
        raise ValueError(f"the name of a file in {EMBEDDINGS}, without a folder")
    if (sha256 := content_of(path, info)) is not None:
        return InitFile(path, sha256, word)
    try:
        return InitFile.read(path, word)
    except FileNotFoundError:
        raise ValueError(f"the name of a file in {EMBEDDINGS}; {EMBEDDINGS / path} does not exist") from None
    except OSError as error:
        raise ValueError(f"a file that can be read ({error.strerror})") from None


def _file_and_word(text: str, info: ValidationInfo) -> tuple[Path, str | None]:
    """`lora.safetensors:cat` is the word cat of lora.safetensors, unless there is a file of that whole name."""
    whole = Path(text)
    file, colon, word = text.partition(":")
    if not colon or not file or content_of(whole, info) is not None or (EMBEDDINGS / whole).is_file():
        return whole, None
    return Path(file), word


InitFileName = Annotated[
    InstanceOf[InitFile],
    BeforeValidator(_init_file),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "format": "path"}),
]
WordName = Annotated[
    str, Field(pattern=NAME), BeforeValidator(_nameable), AfterValidator(_lower_case), AfterValidator(_free)
]


class WordSettings(Section):
    name: WordName = Field(
        description="What you will write in a prompt. Lower-case letters, digits, '_', '-' and '.'; not a word that "
        "the model knows.",
    )
    kind: Kind = Field(
        "thing",
        description="What the word is to mean. Sets curate.cut, train.template and evaluate.prompts where they are "
        "auto, and what lint and doctor look for.",
    )
    vectors: Auto | Annotated[int, Field(strict=True, ge=1, le=75)] = Field(
        "auto",
        description="Vectors per token. More fit harder and overfit sooner; auto goes by the number of pictures.",
    )
    init_text: str = Field(
        "*", description="Words to start from, best the plain name of the thing. Empty starts from zeros."
    )
    init_file: InitFileName | None = Field(
        None,
        description="An embedding file in data/embeddings to start from in place of init_text. Of a LoRA that brings "
        "several words, lora.safetensors:cat is the word cat.",
    )
    overwrite: bool = Field(False, strict=True, description="Allow a name that a file in data/embeddings has already.")
