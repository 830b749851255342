"""The JSON files by which stages tell each other what they did; see docs/files.md."""

import math
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

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
    configs_sha256: str = ""  # of those that a checkpoint file was read with
    commit: str = ""  # of a hub id

    @property
    def is_file(self) -> bool:
        """Whether it was a checkpoint file, not a folder."""
        return bool(self.configs_sha256)


class Ended(Record):
    step: int
    early: str = ""  # why it ended before its time, in words
    levelled_out: bool = False  # and whether that was train.early_stop


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
    threads: int | None = None  # on a CPU
    precision: str
    model: BaseModelRecord
    ended: Ended | None = None

    @property
    def learned(self) -> str:
        """`word` or `hypernetwork`."""
        return str(self.settings.get("train", {}).get("learn", "word"))

    @property
    def of_hypernetwork(self) -> bool:
        return self.learned == "hypernetwork"

    @property
    def start(self) -> str:
        """What the pictures of step 0, the control `init`, are drawn with."""
        if self.of_hypernetwork:
            return "the base model alone"
        return "the init file" if self.settings.get("word", {}).get("init_file") else "the init text"

    @property
    def init_text(self) -> str:
        """What the word began as; empty where it began as a file, and for a hypernetwork."""
        return str(self.settings.get("word", {}).get("init_text", "")) if self.start == "the init text" else ""

    @property
    def init_file(self) -> str:
        """What was learned began as the word or hypernetwork of this file; empty where there was none."""
        section = "hypernetwork" if self.of_hypernetwork else "word"
        return str(self.settings.get(section, {}).get("init_file") or "")


class Share(Record):
    """A share of `number` cases, with its 95 % interval."""

    value: float
    low: float
    high: float
    number: int

    @classmethod
    def of(cls, found: int, number: int) -> Self:
        """`found` of `number` cases, with the interval of Wilson (1927, eq. 2)."""
        share, z = found / number, 1.96
        centre = (share + z**2 / (2 * number)) / (1 + z**2 / number)
        half = z / (1 + z**2 / number) * math.sqrt(share * (1 - share) / number + z**2 / (4 * number**2))
        return cls(value=share, low=max(centre - half, 0.0), high=min(centre + half, 1.0), number=number)


MIN_RETRIEVAL = 0.9  # a small network of ImageNet reaches 0.94 among the 30 subjects of DreamBooth


MIN_WAY = 0.01  # of likeness, in cosine: below it the start draws the concept already, or the judge sees no difference


class Scale(Record):
    """What 0 and 1 of a measure stand for, in the unit that it was measured in; None where it could not be measured."""

    zero: float | None = None
    one: float | None = None
    source: str = ""


class JudgesRecord(Record):
    """outputs/judged/judges.json: who judged, whether to believe them, and on which scales."""

    images: str
    texts: str
    kind: str
    retrieval: Share | None = None  # of the image judge, among look-alikes
    likeness: dict[str, Scale] = {}  # by run
    obedience: Scale = Scale()
    groups: list[list[str]] = []  # files of the training pictures, where these show two things
    measures: int = 1  # the version of their definitions; it was not written down at first

    @property
    def reference(self) -> str | None:
        """The run whose init draws what is most like the pictures; the first of equal ones."""
        zeros = {run: scale.zero for run, scale in self.likeness.items() if scale.zero is not None}
        return max(zeros, key=lambda run: zeros[run]) if zeros else None

    @property
    def several_starts(self) -> bool:
        """Whether the runs start from words that draw unlike pictures, so that `reference` gives all of them one 0."""
        return len({scale.zero for scale in self.likeness.values()}) > 1

    def start_of(self, run: RunRecord) -> str:
        """Whose pictures are the 0 of a run's likeness."""
        return f"the start of {self.reference}" if self.several_starts else run.start

    @property
    def weak(self) -> bool:
        """Whether likeness is weak evidence: the judge knows the concept again too seldom, or was not tried."""
        return self.retrieval is None or self.retrieval.value < MIN_RETRIEVAL


class Checkpoint(Record):
    run: str = Field(pattern=r"^\w[\w.-]*$")  # it names a folder
    step: int


class Estimate(Record):
    """A mean with its 95 % interval."""

    value: float
    low: float
    high: float


class Carried(Record):
    """What the chosen checkpoint does elsewhere; None where it could not be measured."""

    elsewhere: str  # "on <base model>" or "with <word>"
    figures: dict[str, Estimate | None]  # by measure
    gains: dict[str, Estimate | None]  # by measure, there less on the base model alone
    sentence: str  # of all that


class Choice(Checkpoint):
    """outputs/choice/choice.json: the chosen checkpoint and why; the least bad one where nothing is better than the
    init."""

    word: str = Field(pattern=r"^\w[\w.-]*$")  # it names a file
    file: Path
    better_than_init: bool = True
    reason: Sentences
    advice: list[str] = []
    notes: list[str] = []
    sure: float | None = None
    tied: list[Checkpoint] = []
    carried: list[Carried] = []
    loss: float | None = None
    similarity: float | None = None
    likeness: float | None = None
    identity: float | None = None
    obedience: float | None = None
    score: float | None = None


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
