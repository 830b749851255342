"""From a template and a caption to token ids with the word's vectors in their places."""

import re
from pathlib import Path

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from pseudoword.errors import UserError

NAME, FILEWORDS = "[name]", "[filewords]"


class BadTemplate(UserError):
    def __init__(self, path: Path, found: str) -> None:
        super().__init__(f"{path}: {found}. Each line is one prompt that holds {NAME}, and {FILEWORDS} if you like.")


class PromptTooLong(UserError):
    def __init__(self, prompt: str, tokens: int, limit: int) -> None:
        super().__init__(
            f"the prompt '{prompt}' takes {tokens} tokens with the word's vectors in it; the model reads {limit}. "
            "Shorten the caption or the template, or lower word.vectors."
        )


def read_templates(path: Path) -> list[str]:
    """The prompts of a template file, one a line; empty lines are skipped. Raises BadTemplate."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise BadTemplate(path, f"cannot be read ({error})") from None
    templates = [line for line in lines if line]
    if not templates:
        raise BadTemplate(path, "has no prompts")
    for line in templates:
        if NAME not in line:
            raise BadTemplate(path, f"'{line}' does not hold {NAME}, so the word would learn nothing from it")
    return templates


def fill(template: str, name: str, caption: str = "") -> str:
    """The prompt that a template makes; the commas that an empty caption leaves dangling are cut."""
    filled = template.replace(FILEWORDS, caption).replace(NAME, name)
    return re.sub(r"\s*,(\s*,)*", ",", re.sub(r"\s+", " ", filled)).strip(" ,")


def without_name(template: str) -> str:
    """A template's text without the word and its article: what the picture should show besides the word itself."""
    return fill(re.sub(rf"\b(an?|the) {re.escape(NAME)}|{re.escape(NAME)}", "", template), "")


class Vocabulary:
    """A tokenizer that knows one more word, whose K vectors have the ids `first_id` to `first_id + K - 1`.

    `first_id` is the size of the text encoder's token table, plus the vectors of other runs before this one.
    """

    def __init__(self, tokenizer: CLIPTokenizer, name: str, first_id: int, vectors: int) -> None:
        self.tokenizer = tokenizer
        self.ids = list(range(first_id, first_id + vectors))
        self.pattern = re.compile(rf"(?<![\w]){re.escape(name)}(?![\w])", re.IGNORECASE)

    def encode(self, prompt: str) -> list[int]:
        """Token ids of one prompt, framed and padded to the model's length. Raises PromptTooLong, never cuts."""
        middle: list[int] = []
        for at, text in enumerate(self.pattern.split(prompt)):
            middle += self.ids if at else []
            middle += self.tokenizer(text, add_special_tokens=False)["input_ids"] if text.strip() else []
        length: int = self.tokenizer.model_max_length
        if len(middle) > length - 2:
            raise PromptTooLong(prompt, len(middle), length - 2)
        framed = [self.tokenizer.bos_token_id, *middle, self.tokenizer.eos_token_id]
        return framed + [self.tokenizer.pad_token_id] * (length - len(framed))

    def encode_all(self, prompts: list[str]) -> Tensor:
        """(B, L) int64."""
        return torch.tensor([self.encode(prompt) for prompt in prompts])
