"""The prompts of a run: a template with a picture's caption, its parts shuffled and dropped as the settings say."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pseudoword.prompts import PromptTooLong, Vocabulary, fill
from pseudoword.templates import FILEWORDS, NAME


@dataclass(frozen=True)
class Texts:
    """Where the prompts of one run come from."""

    vocabulary: Vocabulary
    name: str
    templates: list[str]
    captions: list[str]  # of each picture
    shuffle_tags: bool = False
    tag_dropout: float = 0.0
    caption_dropout: float = 0.0

    def draw(self, picture: int, template: int, dice: Generator) -> NDArray[np.int64]:
        """The token ids (E, W, L) of one use of a picture."""
        return self.vocabulary.encode(fill(self.templates[template], self.name, self._caption(picture, dice)))

    def check(self) -> None:
        """Raise PromptTooLong for any prompt that can come up, before any work."""
        for caption in self.captions:
            self.check_caption(caption)

    def check_caption(self, caption: str) -> None:
        """Raise PromptTooLong if a template makes too long a prompt of the caption, in any order of its tags."""
        for template in self.templates:
            self.vocabulary.encode(fill(template, self.name, caption))
            if self.moving:
                self._check_any_order(template, caption)

    def fixed(self) -> list[NDArray[np.int64]] | None:
        """The token ids (E, W, L) of every prompt that can come up; None where the parts of a caption move."""
        if self.moving:
            return None
        captions = dict.fromkeys(self.captions + [""] * (self.caption_dropout > 0))
        return [
            self.vocabulary.encode(fill(template, self.name, caption))
            for template in self.templates
            for caption in captions
        ]

    @property
    def moving(self) -> bool:
        """Whether the parts of a caption come in more than one order."""
        return self.shuffle_tags or self.tag_dropout > 0

    def _check_any_order(self, template: str, caption: str) -> None:
        """A sign beside a comma is one token with it or two, as the order has it; apart they are two."""
        apart = template.replace(FILEWORDS, caption.replace(",", " , ")).replace(NAME, self.name)
        most = self.vocabulary.room * self.vocabulary.windows
        if (tokens := sum(self.vocabulary.words_of(apart))) > most:
            prompt = fill(template, self.name, caption)
            raise PromptTooLong(prompt, tokens, most, with_vectors=self.vocabulary.has_vectors)

    def plain(self, picture: int) -> NDArray[np.int64]:
        """The token ids (E, W, L) of the first template with the whole caption: what every evaluation sees."""
        return self.vocabulary.encode(fill(self.templates[0], self.name, self.captions[picture]))

    def first(self) -> str:
        """A prompt of the run to show."""
        return fill(self.templates[0], self.name, self.captions[0])

    def _caption(self, picture: int, dice: Generator) -> str:
        caption = self.captions[picture]
        if self.caption_dropout and dice.random() < self.caption_dropout:
            return ""
        if not self.moving:
            return caption
        tags = [tag.strip() for tag in caption.split(",")]
        tags = [tag for tag in tags if dice.random() >= self.tag_dropout]
        if self.shuffle_tags:
            tags = [tags[i] for i in dice.permutation(len(tags))]
        return ", ".join(tags)


def windows_needed(texts: Texts) -> int:
    """The most windows that any prompt of a run can take, in whatever order its tags come."""
    vocabulary, most = texts.vocabulary, 1
    for caption in texts.captions:
        for template in texts.templates:
            prompt = fill(template, texts.name, caption)
            needed = vocabulary.windows_for(prompt)
            if needed > 1 and texts.moving:
                names = len(vocabulary.pattern.findall(prompt))
                tokens = sorted(vocabulary.words_of(vocabulary.pattern.sub(" ", prompt)))
                # Text leaves less than its longest word free at a window's end; each new word ends one window at most.
                free = min(tokens[-1] if tokens else 1, vocabulary.room) - 1
                needed = -(-sum(tokens) // (vocabulary.room - free)) + 2 * names
            most = max(most, needed)
    return most
