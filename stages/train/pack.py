"""From the settings of each run of the sweep to the runs of a pack."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from transformers import CLIPTokenizer

from pseudoword.base.interface import Base
from pseudoword.prompts import PromptTooLong, Vocabulary, fill
from pseudoword.schedule import Schedule, WarmUpTooLong, lasting, shaped
from pseudoword.settings.train import TrainSettings, without_effect
from pseudoword.training_prompts import Texts, windows_needed
from pseudoword.word import left_out
from stages.train.hypernetwork import Network, Networks
from stages.train.objective import Objective
from stages.train.optimizer import OptimizerSettings
from stages.train.run import Run, StopRule
from stages.train.samples import Sampling
from stages.train.settings import Settings
from stages.train.trainee import Trainee
from stages.train.word import Word, Words


@dataclass(frozen=True)
class Packed:
    """A run of the sweep: its settings, its word, its prompts, and what the loop takes of it."""

    settings: Settings
    learned: Word | Network
    texts: Texts
    run: Run
    warnings: list[str]

    @classmethod
    def of(
        cls, name: str, settings: Settings, base: Base, captions: list[str], pictures: int, steps: int, before: int
    ) -> Self:
        """pictures  without mirrored copies, from which auto vectors follow
        before    vectors of the runs before it in the pack
        """
        train, learned = settings.train, _learned(settings, base, pictures)
        first_ids = [len(table) + before for table in base.tables]
        vocabulary = Vocabulary(base.tokenizers, first_ids, learned.name, learned.vectors_in_prompts)
        texts = Texts(
            vocabulary,
            learned.name,
            list(train.template.lines),
            captions,
            train.shuffle_tags,
            train.tag_dropout,
            train.caption_dropout,
        )
        if train.long_prompts == "window":
            vocabulary.widen(windows_needed(texts))
        run = Run(
            name=name,
            sampling=Sampling(
                seed=train.seed,
                ids_of=texts.draw,
                templates=len(texts.templates),
                stratified=train.timesteps == "stratified",
                once=train.latents == "once",
                noise_offset=train.noise_offset,
                dropout=isinstance(learned, Network) and any(learned.initial.structure.dropout),
            ),
            objective=Objective(
                deterministic=train.latents == "deterministic",
                min_snr_gamma=train.min_snr_gamma,
                huber_delta=train.huber_delta if train.loss == "huber" else None,
            ),
            optimizer=_optimizer(settings, steps),
            plain_ids=texts.plain,
            stop_rule=_stop_rule(train),
        )
        return cls(settings, learned, texts, run, list(_warnings(settings, learned, base.tokenizers[0])))

    def check_prompts(self) -> None:
        """Raise PromptTooLong, with the run and what to shorten, for any prompt that can come up."""
        with _told_of(self.run.name, "the caption or the template"):
            self.texts.check()
        preview = self.settings.train.preview
        for key, prompt in {"prompt": preview.prompt or "", "negative": preview.negative}.items():
            if preview.every:
                with _told_of(self.run.name, f"train.preview.{key}"):
                    self.texts.vocabulary.encode(fill(prompt, self.learned.name, self.texts.captions[0]))


def make_pack(sweep: dict[str, Settings], base: Base, captions: list[str], pictures: int, steps: int) -> list[Packed]:
    """The runs, their words beside each other behind the vocabulary. Raises UserError for a prompt that is too long."""
    pack: list[Packed] = []
    for name, settings in sweep.items():
        before = sum(packed.learned.vectors_in_prompts for packed in pack)
        pack.append(Packed.of(name, settings, base, captions, pictures, steps, before))
    for line in dict.fromkeys(line for packed in pack for line in packed.warnings):
        print(f"warning: {line}")
    windows = max(packed.texts.vocabulary.windows for packed in pack)
    for packed in pack:
        packed.texts.vocabulary.widen(windows)  # one batch, one shape
        packed.check_prompts()
    return pack


def make_trainee(base: Base, pack: Sequence[Packed]) -> Trainee:
    """All runs of a pack learn the same kind of thing."""
    learned = [packed.learned for packed in pack]
    if words := [each for each in learned if isinstance(each, Word)]:
        return Words(base, words)
    fixed = [packed.texts.fixed() for packed in pack]
    prompts = None if None in fixed else [ids for of_run in fixed if of_run for ids in of_run]
    return Networks(base, [each for each in learned if isinstance(each, Network)], prompts)


def _learned(settings: Settings, base: Base, pictures: int) -> Word | Network:
    if settings.train.learn == "word":
        return Word.of(settings, base, pictures)
    return Network.of(settings, base.keys_and_values.widths)


@contextmanager
def _told_of(run: str, source: str) -> Iterator[None]:
    try:
        yield
    except PromptTooLong as error:
        raise PromptTooLong(error.prompt, error.tokens, error.limit, source, run, error.with_vectors) from None


def _warnings(settings: Settings, learned: Word | Network, tokenizer: CLIPTokenizer) -> Iterator[str]:
    """Settings that are valid but probably a mistake."""
    rates = "hypernetwork.learn_rate" if settings.train.learn == "hypernetwork" else "train.learn_rate"
    for key, schedule in ((rates, _learn_rate(settings)), ("train.clip_at", settings.train.clip_at)):
        for problem in schedule.passed_over():
            yield f"{key} '{schedule}': {problem}"
    yield from without_effect(settings.train)
    if isinstance(learned, Network):
        if told := learned.initial.structure.told_of_comfyui():
            yield told
        return
    if settings.word.init_file is None and (
        lost := left_out(settings.word.init_text, len(learned.vectors), tokenizer)
    ):  # fmt: skip
        yield lost


def _learn_rate(settings: Settings) -> Schedule:
    return settings.hypernetwork.learn_rate if settings.train.learn == "hypernetwork" else settings.train.learn_rate


def _optimizer(settings: Settings, steps: int) -> OptimizerSettings:
    train = settings.train
    scheduled = _learn_rate(settings).rates(steps)
    if train.warm_up >= len(scheduled):
        raise WarmUpTooLong(train.warm_up, len(scheduled))
    return OptimizerSettings(
        rates=shaped(scheduled, train.warm_up, train.decay),
        clip_at=lasting(train.clip_at.rates(len(scheduled)), len(scheduled)),
        clip=train.clip,
        weight_decay=settings.hypernetwork.weight_decay if train.learn == "hypernetwork" else train.weight_decay,
        betas=train.betas,
        eps=train.eps,
        average=train.average,
    )


def _stop_rule(train: TrainSettings) -> StopRule | None:
    rule = train.early_stop
    return StopRule(rule.every, rule.window, rule.threshold, rule.floor) if rule.enabled else None
