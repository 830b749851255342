"""From the settings of each run of the sweep to the runs of a pack."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from pseudoword.base.interface import Base
from pseudoword.prompts import PromptTooLong, Vocabulary, fill
from pseudoword.schedule import Schedule, WarmUpTooLong, lasting, shaped
from pseudoword.settings.train import EarlyStop, Train, without_effect
from pseudoword.settings.word import Word
from pseudoword.training_prompts import Texts, windows_needed
from pseudoword.word import initial_vectors, left_out, stored_vectors, vectors_for, vocabulary_norms
from stages.train.loop import Run
from stages.train.objective import Objective
from stages.train.optimizer import Update
from stages.train.samples import Drawing
from stages.train.settings import Settings
from stages.train.stopping import Stopping

AUTO = "auto"


@dataclass(frozen=True)
class Packed:
    """A run, and what is needed to show and to describe it."""

    run: Run
    texts: Texts
    settings: Settings


def make_pack(sweep: dict[str, Settings], base: Base, captions: list[str], pictures: int, steps: int) -> list[Packed]:
    """The runs, their words beside each other behind the vocabulary. Raises UserError for a prompt that is too long.

    pictures  without mirrored copies, from which auto vectors follow
    """
    starts = {name: _start(own.word, base, pictures) for name, own in sweep.items()}
    told = (line for name, own in sweep.items() for line in _warnings(own, len(starts[name]), base.tokenizers[0]))
    for line in dict.fromkeys(told):
        print(f"warning: {line}")
    windows = max(_windows(own, base, captions, len(starts[name])) for name, own in sweep.items())
    usual = torch.tensor([vocabulary_norms(base.tables)])
    pack, used = [], 0
    for name, own in sweep.items():
        vectors = starts[name]
        first_ids = [len(table) + used for table in base.tables]
        vocabulary = Vocabulary(base.tokenizers, first_ids, own.word.name, len(vectors), windows)
        texts = _texts(own, vocabulary, captions)
        with _told_of(name, "the caption or the template"):
            texts.check()
        shown = own.train.preview
        for key, prompt in {"prompt": shown.prompt or "", "negative": shown.negative}.items() if shown.every else ():
            with _told_of(name, f"train.preview.{key}"):
                vocabulary.encode(fill(prompt, own.word.name, captions[0]))
        run = Run(
            name=name,
            vectors=vectors,
            norms=usual.expand(len(vectors), -1) if own.word.init_file is None else _own_norms(vectors, base, usual),
            drawing=_drawing(own.train, texts),
            objective=Objective(
                deterministic=own.train.latents == "deterministic",
                min_snr_gamma=own.train.min_snr_gamma,
                huber_delta=own.train.huber_delta if own.train.loss == "huber" else None,
            ),
            update=_update(own.train, steps),
            plain_ids=texts.plain,
            stopping=_stopping(own.train.early_stop),
        )
        pack.append(Packed(run, texts, own))
        used += len(vectors)
    return pack


@contextmanager
def _told_of(run: str, source: str) -> Iterator[None]:
    try:
        yield
    except PromptTooLong as error:
        raise PromptTooLong(error.prompt, error.tokens, error.limit, source, run) from None


def _warnings(own: Settings, vectors: int, tokenizer: CLIPTokenizer) -> Iterator[str]:
    """What is legal, but hardly meant."""
    for key in ("learn_rate", "clip_at"):
        schedule: Schedule = getattr(own.train, key)
        for problem in schedule.passed_over():
            yield f"train.{key} '{schedule}': {problem}"
    yield from without_effect(own.train)
    if own.word.init_file is None and (lost := left_out(own.word.init_text, vectors, tokenizer)):
        yield lost


def _start(word: Word, base: Base, pictures: int) -> Tensor:
    if word.init_file is not None:
        return stored_vectors(
            word.init_file.checked(), None if word.vectors == AUTO else int(word.vectors), base.widths
        )
    vectors = vectors_for(pictures) if word.vectors == AUTO else int(word.vectors)
    return initial_vectors(word.init_text, vectors, base.tables, base.tokenizers)


def _own_norms(vectors: Tensor, base: Base, usual: Tensor) -> Tensor:
    """(K, encoders): what each vector of a word that was learned before has, `usual` (1, encoders) for zeros."""
    own = torch.stack([part.norm(dim=-1) for part in vectors.cpu().split(list(base.widths), dim=1)], dim=1)
    return own.where(own > 0, usual)


def _windows(own: Settings, base: Base, captions: list[str], vectors: int) -> int:
    if own.train.long_prompts == "refuse":
        return 1
    vocabulary = Vocabulary(base.tokenizers, [len(table) for table in base.tables], own.word.name, vectors)
    return windows_needed(_texts(own, vocabulary, captions))


def _texts(own: Settings, vocabulary: Vocabulary, captions: list[str]) -> Texts:
    train = own.train
    templates = list(train.template.lines)
    return Texts(
        vocabulary, own.word.name, templates, captions, train.shuffle_tags, train.tag_dropout, train.caption_dropout
    )


def _drawing(train: Train, texts: Texts) -> Drawing:
    return Drawing(
        seed=train.seed,
        ids_of=texts.draw,
        templates=len(texts.templates),
        stratified=train.timesteps == "stratified",
        once=train.latents == "once",
        noise_offset=train.noise_offset,
    )


def _update(train: Train, steps: int) -> Update:
    given = train.learn_rate.rates(steps)
    if train.warm_up >= len(given):
        raise WarmUpTooLong(train.warm_up, len(given))
    rates = shaped(given, train.warm_up, train.decay)
    return Update(
        rates=rates,
        clip_at=lasting(train.clip_at.rates(len(rates)), len(rates)),
        clip=train.clip,
        norm=train.norm,
        weight_decay=train.weight_decay,
        betas=train.betas,
        eps=train.eps,
        pull=train.pull,
        average=train.average,
    )


def _stopping(own: EarlyStop) -> Stopping | None:
    return Stopping(own.every, own.window, own.threshold, own.floor) if own.enabled else None
