"""Where a word is drawn: in the base model that it was learned on, and, to see how far it carries, elsewhere."""

from collections.abc import Iterator
from dataclasses import dataclass

from pseudoword.base.identity import ModelIdentity
from pseudoword.base.vocabulary import base_widths
from pseudoword.errors import UserError
from pseudoword.formats.embedding import Embedding
from pseudoword.settings.evaluate import EvaluateSettings
from pseudoword.settings.word import InitFile
from pseudoword.word import embedding_for


class DoesNotCarry(UserError):
    """What `evaluate.also_on` or `evaluate.together_with` names does not go with the word."""


@dataclass(frozen=True)
class Surroundings:
    label: str  # as tables name it; empty at home
    folder: str  # below sheets/, with a slash at its end; empty at home
    model: ModelIdentity
    beside: Embedding | None = None  # another word, which every prompt ends with
    beside_sha256: str = ""  # of its file
    strength: float = 1.0  # of a hypernetwork

    @property
    def words(self) -> list[Embedding]:
        return [self.beside] if self.beside else []

    def prompt(self, text: str) -> str:
        """What is drawn where a prompt says `text`."""
        return prompt_beside(text, self.beside) if self.beside else text


def prompt_beside(text: str, beside: Embedding) -> str:
    """A prompt with another word at its end; the prompt may be empty."""
    return f"{text}, {beside.name}" if text else beside.name


def surroundings(
    evaluate: EvaluateSettings, model: ModelIdentity, word: str, hypernetwork: bool
) -> Iterator[Surroundings]:
    """Home first, then all that need the same model; `hypernetwork` is what was learned. Raises UserError."""
    yield Surroundings("", "", model)
    for i, file in enumerate(evaluate.together_with):
        beside = other_word(file, model, word)
        yield Surroundings(f"with {beside.name}", f"with-{i}/", model, beside, file.sha256)
    for i, strength in enumerate(evaluate.strengths if hypernetwork else ()):
        yield Surroundings(f"at strength {strength:g}", f"strength-{i}/", model, strength=strength)
    for i, name in enumerate(evaluate.also_on):
        yield Surroundings(f"on {name}", f"on-{i}/", other_model(name, model))


def other_model(name: str, model: ModelIdentity) -> ModelIdentity:
    """Another base model that reads words of `model`, by folder, file or hub id. Raises UserError."""
    other = ModelIdentity(name)
    try:
        family = other.family
    except UserError as error:
        raise DoesNotCarry(str(error).replace("base.model:", "evaluate.also_on:", 1)) from None
    if family != model.family:
        raise DoesNotCarry(f"evaluate.also_on: '{name}' is of the family {family}, base.model of {model.family}.")
    if (found := base_widths(name)) != (wanted := base_widths(model.name, model.config)):
        sizes, ours = (" and ".join(map(str, widths)) for widths in (found, wanted))
        raise DoesNotCarry(f"evaluate.also_on: '{name}' reads vectors of {sizes} numbers, base.model of {ours}.")
    return other


def other_word(file: InitFile, model: ModelIdentity, word: str) -> Embedding:
    """A word to stand beside `word` in prompts. Raises UserError."""
    widths = base_widths(model.name, model.config)
    beside = embedding_for(file.checked(), widths, "evaluate.together_with", word=file.word)
    if beside.name.lower() == word:
        raise DoesNotCarry(
            f"evaluate.together_with: the word of {file.path} is called '{beside.name}', as the one that is learned. "
            "Name another file, or change word.name."
        )
    return beside
