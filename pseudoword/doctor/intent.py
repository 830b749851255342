"""What the settings mean to do with the pictures, flat, as far as a check asks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

from pseudoword.base.identity import ModelIdentity
from pseudoword.schedule import Schedule
from pseudoword.settings.base import BaseSettings, DataSettings
from pseudoword.settings.evaluate import EvaluateSettings
from pseudoword.settings.hypernetwork import HypernetworkSettings
from pseudoword.settings.judge import JudgeSettings
from pseudoword.settings.kind import Kind
from pseudoword.settings.preprocess import PreprocessSettings
from pseudoword.settings.train import TrainSettings
from pseudoword.settings.word import InitFile, WordSettings
from pseudoword.templates import Prompts


class RunIntent(NamedTuple):
    """The settings of one run of the sweep."""

    word: WordSettings
    train: TrainSettings
    hypernetwork: HypernetworkSettings | None = None  # where it is learned in place of a word

    @property
    def learn_rate(self) -> Schedule:
        return self.train.learn_rate if self.hypernetwork is None else self.hypernetwork.learn_rate


@dataclass(frozen=True)
class Intent:
    """`vectors`, `steps`, `batch`, `accumulation` and `save_every` may be "auto"."""

    folder: Path
    model: ModelIdentity
    preprocess: PreprocessSettings
    name: str
    init_text: str
    vectors: int | str
    steps: int | str
    batch: int | str
    accumulation: int | str
    save_every: int | str
    prompts: Prompts  # of the evaluation
    also_on: Sequence[str] = ()
    together_with: Sequence[InitFile] = ()
    clip_skip: int = 0
    attention: str = "auto"
    kind: Kind = "thing"
    judge: JudgeSettings | None = None  # none where nothing is judged
    trained: Sequence[RunIntent] = ()  # the runs of the sweep; none where only the pictures are looked at

    @property
    def runs(self) -> int:
        return max(1, len(self.trained))

    @property
    def of_hypernetwork(self) -> bool:
        """Whether the name is text in prompts, and stands for no vectors."""
        return any(run.hypernetwork is not None for run in self.trained)

    @classmethod
    def of(
        cls,
        data: DataSettings,
        base: BaseSettings,
        preprocess: PreprocessSettings,
        evaluate: EvaluateSettings,
        judge: JudgeSettings,
        runs: Sequence[RunIntent],
    ) -> Self:
        """`runs` are those of the sweep, at least one; what they share is taken from the first."""
        word, train = runs[0].word, runs[0].train
        return cls(
            folder=data.folder,
            model=ModelIdentity(base.model, base.revision, base.config, base.vae),
            preprocess=preprocess,
            name=word.name,
            init_text=word.init_text,
            vectors=word.vectors,
            steps=train.steps,
            batch=train.batch,
            accumulation=train.accumulation,
            save_every=train.save_every,
            prompts=evaluate.prompts,
            also_on=evaluate.also_on,
            together_with=evaluate.together_with,
            clip_skip=base.clip_skip,
            attention=base.attention,
            kind=word.kind,
            judge=judge,
            trained=runs,
        )
