"""How many tokens a caption takes once a template is filled and the word's vectors are in their place."""

import re
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache

from transformers import CLIPTokenizer

from pseudoword.base.identity import ModelIdentity
from pseudoword.prompts import fill
from pseudoword.templates import FILEWORDS
from pseudoword.word import vectors_for


class PromptLength:
    """Counts for one word of `vectors` vectors in each of the templates; of none, the name is text like any other.

    `limit` is what the model reads, None where longer prompts are read in windows.
    """

    def __init__(
        self, tokenizer: CLIPTokenizer, templates: Sequence[str], name: str, vectors: int, windowed: bool = False
    ) -> None:
        self.tokenizer, self.templates, self.name, self.vectors = tokenizer, tuple(templates), name, vectors
        # Without the marks of beginning and end.
        self.limit: int | None = None if windowed else tokenizer.model_max_length - 2
        self.tokens = lru_cache(maxsize=2**16)(self._tokens)

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(rf"(?<!\w){re.escape(self.name)}(?!\w)", re.IGNORECASE)

    def _tokens(self, prompt: str) -> int:
        texts = self._pattern.split(prompt) if self.vectors else [prompt]
        plain = sum(len(self.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts if text.strip())
        return plain + self.vectors * (len(texts) - 1)

    def prompts(self, caption: str) -> list[tuple[str, int]]:
        """What each template makes of the caption, and its tokens."""
        prompts = dict.fromkeys(fill(template, self.name, caption) for template in self.templates)
        return [(prompt, self.tokens(prompt)) for prompt in prompts]

    def longest(self, caption: str) -> tuple[str, int]:
        """The longest prompt that holds the caption; of all prompts when no template has [filewords]."""
        holding = [template for template in self.templates if FILEWORDS in template] or self.templates
        prompts = [fill(template, self.name, caption) for template in holding]
        return max(((prompt, self.tokens(prompt)) for prompt in prompts), key=lambda pair: pair[1])


def load_prompt_length(
    model: ModelIdentity, templates: Sequence[str], name: str, vectors: Iterable[int | str],
    pictures: int, windowed: bool,
) -> PromptLength:  # fmt: skip
    """For the longest of a sweep's words; `vectors` of each run as in the settings, `auto` or a number, 0 for none.

    Of SDXL's two tokenizers the first counts: both cut a text alike, but for rows of "!". Raises ModelNotFound
    and UnknownFamily.
    """
    tokenizer = CLIPTokenizer.from_pretrained(model.configs / "tokenizer")
    most = max(number if isinstance(number, int) else vectors_for(pictures) for number in vectors)
    return PromptLength(tokenizer, templates, name, most, windowed)
