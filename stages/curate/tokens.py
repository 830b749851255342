"""How long prompts become with the settings as they are, for the stage and for the review page."""

from typing import Protocol

from pseudoword.base.families import UnknownFamily
from pseudoword.base.identity import ModelIdentity
from pseudoword.base.location import ModelNotFound
from pseudoword.captions.prompt_length import PromptLength, load_prompt_length
from pseudoword.settings.sweep import Sweepable, runs
from pseudoword.settings.train import TrainSettings
from pseudoword.settings.word import WordSettings


class WithWord(Sweepable, Protocol):
    word: WordSettings
    train: TrainSettings


def prompt_length(settings: WithWord, model: ModelIdentity, pictures: int) -> PromptLength | None:
    """None, with a note, when the base model is not to be had."""
    learns_word = settings.train.learn == "word"  # the name of a hypernetwork is text
    vectors = [run.word.vectors if learns_word else 0 for run in runs(settings).values()]
    try:
        return load_prompt_length(
            model, settings.train.template.lines, settings.word.name, vectors, pictures,
            windowed=settings.train.long_prompts == "window",
        )  # fmt: skip
    except (ModelNotFound, UnknownFamily) as error:
        print(f"note: tokens are not counted: {error}")
        return None
