"""The JSON files by which stages tell each other what they did; see docs/files.md."""

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pseudoword.errors import UserError

# A text in one piece, or as a list of its sentences.
Sentences = Annotated[str, BeforeValidator(lambda value: " ".join(value) if isinstance(value, list) else value)]


class BadRecord(UserError):
    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}. It is an output of the pipeline; `dvc repro` makes it again.")


class Record(BaseModel):
    # Later versions may write more than this one reads.
    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())


class BaseModelRecord(Record):
    name: str
    family: str
    resolution: int
    sha256: str = ""
    commit: str = ""  # of a hub id


class RunRecord(Record):
    """outputs/words/<run>/settings.json: what a run was trained with, each `auto` resolved."""

    settings: dict[str, dict[str, Any]]
    auto: list[str] = []
    pictures: int
    samples_per_update: int
    windows: int
    templates: list[str] = Field(min_length=1)
    versions: dict[str, str]
    device: str
    precision: str
    model: BaseModelRecord


class Choice(Record):
    """outputs/evaluation/choice.json: the chosen checkpoint and why."""

    word: str = Field(pattern=r"^\w[\w.-]*$")  # it names a file, and so does `run` a folder
    run: str = Field(pattern=r"^\w[\w-]*$")
    step: int
    file: Path
    reason: Sentences
    advice: list[str] = []
    training_similarity: float | None = None
    loss: float | None = None
    image_similarity: float | None = None
    text_similarity: float | None = None
    judge: str = ""
    tied: list[int] = []


SomeRecord = TypeVar("SomeRecord", bound=Record)


def read_record(path: Path, kind: type[SomeRecord]) -> SomeRecord:
    """Read a JSON file as `kind`. Raises BadRecord when it is missing, not JSON or lacks something."""
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError:
        raise BadRecord(path, "cannot be read") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadRecord(path, f"{where + ': ' if where else ''}{first['msg']}") from None
