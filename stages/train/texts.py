"""The prompts of a run: a template with a picture's caption, its parts shuffled and dropped as the settings say."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from pseudoword.prompts import Vocabulary, fill


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
            for template in self.templates:
                self.vocabulary.encode(fill(template, self.name, caption))

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
        if not (self.shuffle_tags or self.tag_dropout):
            return caption
        tags = [tag.strip() for tag in caption.split(",")]
        tags = [tag for tag in tags if dice.random() >= self.tag_dropout]
        if self.shuffle_tags:
            tags = [tags[at] for at in dice.permutation(len(tags))]
        return ", ".join(tags)


def windows_needed(vocabulary: Vocabulary, name: str, templates: list[str], captions: list[str]) -> int:
    """The most windows that any prompt of a run can take, in whatever order its tags come."""
    room = vocabulary.tokenizers[0].model_max_length - 2
    most = 1
    for caption in captions:
        for template in templates:
            prompt = fill(template, name, caption)
            length, longest = vocabulary.lengths(prompt)
            # A word that does not fit into the rest of a window starts the next one.
            most = max(most, 1 if length <= room else -(-length // (room - longest + 1)))
    return most
