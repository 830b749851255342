"""The check of what train or evaluate would refuse: of the settings, the captions and the files that they name."""

from collections.abc import Iterator
from typing import NamedTuple

from pseudoword.base.attention import check_attention
from pseudoword.base.text import BadClipSkip, most_skipped
from pseudoword.captions.drafts import DRAFTS
from pseudoword.captions.texts import find_text, list_texts
from pseudoword.doctor.budget import plan_of
from pseudoword.doctor.case import Case, shown, sources
from pseudoword.doctor.intent import RunIntent
from pseudoword.doctor.model import Model
from pseudoword.doctor.pictures import MeasuredPicture
from pseudoword.errors import UserError
from pseudoword.findings import Finding, names
from pseudoword.formats.embedding import Embedding
from pseudoword.learned import start_of_hypernetwork
from pseudoword.pictures.ids import count_unmirrored
from pseudoword.plan import AccumulationWithoutBatch
from pseudoword.prompts import PromptTooLong, Vocabulary, fill
from pseudoword.schedule import WarmUpTooLong
from pseudoword.surroundings import other_model, other_word, prompt_beside
from pseudoword.training_prompts import Texts, windows_needed
from pseudoword.word import stored_vectors, vectors_for


class TrainedRun(NamedTuple):
    """A run of the sweep as far as training has to read prompts."""

    settings: RunIntent
    vectors: int  # that stand for the name in prompts
    texts: Texts


def refused(case: Case) -> list[Finding]:
    """Each refusal as a finding, so that it comes before the VAE and the UNet have run."""
    model = case.model
    assert isinstance(model, Model)
    beside, findings = _elsewhere(case)
    findings, runs = [*_model(case, model), *findings], list[TrainedRun]()
    for settings in case.intent.trained:
        findings += _too_long_warm_up(case, settings)
        try:
            vectors = _vectors(case, settings, model)
        except UserError as error:
            findings.append(_error(str(error), "Name another file in word.init_file, or set word.vectors to auto."))
        else:
            runs.append(TrainedRun(settings, vectors, _texts(case, settings, vectors, model)))
    windows = max((windows_needed(run.texts) for run in runs if _windowed(run)), default=1)
    for run in runs:
        run.texts.vocabulary.widen(windows)
        findings += [*_long_prompts(case, run), *_long_beside(case, run, beside)]
    findings += _long_captions(case, runs)
    return list({finding.message: finding for finding in findings}.values())  # the runs of a sweep say the same


def _error(message: str, advice: str) -> Finding:
    return Finding(check="refused", severity="error", message=message, advice=advice)


def _model(case: Case, model: Model) -> Iterator[Finding]:
    intent = case.intent
    most = most_skipped(model.layers, already=len(model.layers) - 1)  # SDXL never reads the last one
    if intent.clip_skip > most:
        yield _error(str(BadClipSkip(intent.clip_skip, most)), "Lower base.clip_skip.")
    try:
        check_attention(intent.attention)
    except UserError as error:
        yield _error(str(error), "Set base.attention to auto.")
    try:
        assert intent.model.vae_place
    except UserError as error:
        yield _error(str(error), "Set base.vae to null for the model's own.")
    for run in intent.trained:
        try:
            if run.hypernetwork is not None:
                start_of_hypernetwork(run.hypernetwork, intent.model.context_widths)
        except UserError as error:
            yield _error(str(error), "Change hypernetwork.widths, hypernetwork.layers or hypernetwork.init_file.")


def _elsewhere(case: Case) -> tuple[list[Embedding], list[Finding]]:
    """The words of evaluate.together_with, and what of them and of evaluate.also_on does not go with this one."""
    intent, words, findings = case.intent, list[Embedding](), list[Finding]()
    for file in intent.together_with:
        try:
            words.append(other_word(file, intent.model, intent.name))
        except UserError as error:
            findings.append(_error(str(error), "Name another file in evaluate.together_with, or none."))
    for name in intent.also_on:
        try:
            other_model(name, intent.model)
        except UserError as error:
            findings.append(_error(str(error), "Name another model in evaluate.also_on, or none."))
    return words, findings


def _long_beside(case: Case, run: TrainedRun, beside: list[Embedding]) -> Iterator[Finding]:
    """Prompts of the evaluation that have no room for another word beside this one."""
    name, path = case.intent.name, case.intent.prompts.path
    for embedding in beside:
        others = {embedding.name: len(embedding.vectors)}
        vocabulary = Vocabulary(
            run.texts.vocabulary.tokenizers, [0] * len(run.texts.vocabulary.tokenizers), name, run.vectors,
            run.texts.vocabulary.windows, others,
        )  # fmt: skip
        for line in case.intent.prompts.lines:
            try:
                vocabulary.encode(prompt_beside(fill(line, name), embedding))
            except PromptTooLong as error:
                yield _error(f"{path}: {_excess(error)}.", f"Shorten it in {path}, or empty evaluate.together_with.")


def _too_long_warm_up(case: Case, settings: RunIntent) -> Iterator[Finding]:
    try:
        updates = len(settings.learn_rate.rates(plan_of(case).steps))
    except AccumulationWithoutBatch:
        return  # `number` says so
    if settings.train.warm_up >= updates:
        message = str(WarmUpTooLong(settings.train.warm_up, updates))
        yield _error(message, "Lower train.warm_up, or raise train.steps.")


def _vectors(case: Case, settings: RunIntent, model: Model) -> int:
    """How many stand for the name in prompts; none where a hypernetwork is learned, as the name is text there.

    Raises UserError for a file to start from that is not one, or not of this base model.
    """
    if settings.hypernetwork is not None:
        return 0
    word = settings.word
    number = None if word.vectors == "auto" else int(word.vectors)
    if word.init_file is not None:
        return len(stored_vectors(word.init_file.checked(), number, model.widths, word=word.init_file.word))
    return number or vectors_for(count_unmirrored(picture.id for picture in case.pictures))


def _texts(case: Case, settings: RunIntent, vectors: int, model: Model) -> Texts:
    train = settings.train
    vocabulary = Vocabulary(model.tokenizers, [len(each) for each in model.tokenizers], case.intent.name, vectors)
    captions = list((case.captions or {}).values()) or [""]
    templates = list(train.template.lines)
    return Texts(
        vocabulary, case.intent.name, templates, captions, train.shuffle_tags, train.tag_dropout, train.caption_dropout
    )


def _windowed(run: TrainedRun) -> bool:
    return run.settings.train.long_prompts == "window"


def _long_prompts(case: Case, run: TrainedRun) -> Iterator[Finding]:
    """Of the template without a caption, of the previews and of the evaluation."""
    train, name, vocabulary = run.settings.train, case.intent.name, run.texts.vocabulary
    prompts = [(f"{train.template.path}", fill(line, name)) for line in run.texts.templates]
    if train.preview.every:
        prompts.append(("train.preview.prompt", fill(train.preview.prompt or "", name, run.texts.captions[0])))
        prompts.append(("train.preview.negative", train.preview.negative))
    prompts += [(f"{case.intent.prompts.path}", fill(line, name)) for line in case.intent.prompts.lines]
    for source, prompt in prompts:
        try:
            vocabulary.encode(prompt)
        except PromptTooLong as error:
            yield _error(f"{source}: {_excess(error)}.", f"Shorten it in {source}{_or_vectors(error)}.")


def _long_captions(case: Case, runs: list[TrainedRun]) -> list[Finding]:
    """One finding for all captions that are too long for a run, with the worst prompt and the file of each caption."""
    worst: dict[str, tuple[MeasuredPicture, PromptTooLong]] = {}
    for picture in case.pictures:
        caption = (case.captions or {}).get(picture.id, "")
        for run in runs if caption and picture.source not in worst else ():
            try:
                run.texts.check_caption(caption)
            except PromptTooLong as error:
                if not _too_long_without(run):
                    worst[picture.source] = picture, error
                    break
    if not worst:
        return []
    picture, longest = max(worst.values(), key=lambda pair: pair[1].tokens)
    found = [picture for picture, _ in worst.values()]
    files = {picture.source: _file_of(case, picture) for picture in found}
    return [
        Finding(
            check="refused",
            severity="error",
            message=f"The caption of {names(sources(found))} is too long to train with; that of {picture.source} is "
            f"in {files[picture.source]}: {_excess(longest)}.",
            advice=f"Shorten it there{', lower word.vectors' * longest.with_vectors}, or set train.long_prompts to "
            "window.",
            pictures=shown(found),
            figure={"tokens": {source: error.tokens for source, (_, error) in worst.items()}, "file": files},
        )
    ]


def _too_long_without(run: TrainedRun) -> bool:
    """Whether the template alone is too long, which is told by itself."""
    try:
        run.texts.check_caption("")
    except PromptTooLong:
        return True
    return False


def _excess(error: PromptTooLong) -> str:
    return f"'{error.shown}' {error.takes}, and the model reads {error.limit}"


def _or_vectors(error: PromptTooLong) -> str:
    return ", or lower word.vectors" if error.with_vectors else ""


def _file_of(case: Case, picture: MeasuredPicture) -> str:
    """Where a person can change the caption of a picture."""
    origin, folder = case.origins.get(picture.id, "draft"), case.intent.folder
    if origin == "edit":
        return f"{folder / 'captions.yaml'}"
    text = find_text(picture.source, list_texts(folder, [picture.source]))
    return f"{DRAFTS if origin == 'draft' or text is None else text}"
