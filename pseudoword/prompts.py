"""From a template and a caption to token ids with the word's vectors in their places."""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import CLIPTokenizer

from pseudoword.errors import UserError
from pseudoword.templates import FILEWORDS, NAME

MAX_SHOWN = 80  # characters of a prompt in a message
# Words that lead up to a caption and to nothing else: "a painting of [filewords], by [name]".
LEADS_UP = re.compile(
    rf"(\s+(a|an|and|at|by|from|in|of|on|showing|the|with))+\s+{re.escape(FILEWORDS)}(?=\s*(,|$|(at|by|from|in|on|with)\b))"
)
# "a [name]", "in [name] style", "in the style of [name]", "by [name]", "of a [name]"
WORD_AND_ITS_OWN = re.compile(
    rf"(?:\b(?:by|in|of|with) )?(?:\b(?:an?|the) )?(?:\bstyle of )?{re.escape(NAME)}(?: style\b)?"
)


class PromptTooLong(UserError):
    """`source` is what the prompt comes from, `run` whose it is; empty where that is not known.

    `with_vectors`: the word's are among the tokens, and its name is not text like any other.
    """

    def __init__(
        self, prompt: str, tokens: int, limit: int, source: str = "the caption or the template", run: str = "",
        with_vectors: bool = True,
    ) -> None:  # fmt: skip
        self.prompt, self.tokens, self.limit, self.with_vectors = prompt, tokens, limit, with_vectors
        self.shown = prompt if len(prompt) <= MAX_SHOWN else f"{prompt[:MAX_SHOWN]}..."
        self.takes = f"takes {tokens} tokens" + (" with the word's vectors in it" if with_vectors else "")
        lower = ", or lower word.vectors" if with_vectors else ""
        super().__init__(
            f"{f'run {run!r}: ' if run else ''}the prompt '{self.shown}' {self.takes}; the model "
            f"reads {limit}. Shorten {source}{lower}; train.long_prompts: window reads longer ones."
        )


def fill(template: str, name: str, caption: str = "") -> str:
    """Make a prompt of a template; the commas and words that an empty caption leaves dangling are cut."""
    if not caption.strip():
        template = LEADS_UP.sub("", template)
    filled = template.replace(FILEWORDS, caption).replace(NAME, name)
    return re.sub(r"\s*,(\s*,)*", ",", re.sub(r"\s+", " ", filled)).strip(" ,")


def without_name(template: str) -> str:
    """Strip the word from a template, with what belongs to it alone ("a", "in ... style", "by"): the rest is what a
    picture should show besides the word."""
    return fill(WORD_AND_ITS_OWN.sub("", template), "")


class Vocabulary:
    """Tokenizers that know one more word, whose K vectors have the ids `first` to `first + K - 1` in each of them.

    Letters in shapes: E text encoders, W windows, L tokens of a window (77).
    """

    def __init__(
        self, tokenizers: Sequence[CLIPTokenizer], first_ids: Sequence[int], name: str, vectors: int, windows: int = 1,
        beside: Mapping[str, int] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        """first_ids  each encoder's token table's length, plus the vectors of other runs before this one
        vectors    without any the name is text like any other
        beside     vectors of further words by their names; theirs come after
        """
        self.tokenizers = tokenizers
        self.words: list[dict[str, list[int]]] = [{} for _ in first_ids]
        known = ({name: vectors} if vectors else {}) | dict(beside)
        for words, first in zip(self.words, first_ids, strict=True):
            for word, number in known.items():
                words[word] = list(range(first, first + number))
                first += number
        self.has_vectors = vectors > 0
        self.windows = windows
        self.room: int = tokenizers[0].model_max_length - 2  # tokens of a window, without the marks of its ends
        self.names = sorted(known, key=len, reverse=True)  # each has a group of the pattern
        names = "|".join(f"({re.escape(name)})" for name in self.names)
        self.pattern = re.compile(rf"(?<!\w)(?:{names})(?!\w)" if known else "(?!)", re.IGNORECASE)
        # A caption comes back with every pass over the pictures.
        self._known = lru_cache(maxsize=4096)(self._encode)

    def widen(self, windows: int) -> None:
        """Read prompts in so many windows from now on; those that a prompt does not fill are empty."""
        self.windows = windows
        self._known.cache_clear()

    def encode(self, prompt: str) -> NDArray[np.int64]:
        """Token ids of one prompt, framed and padded, (E, W, L). Raises PromptTooLong, never cuts."""
        return self._known(prompt)

    def encode_all(self, prompts: list[str]) -> Tensor:
        """(B, E, W, L) int64."""
        return torch.from_numpy(np.stack([self.encode(prompt) for prompt in prompts]))

    def windows_for(self, prompt: str) -> int:
        """How many windows a prompt takes as it stands, with the tokenizer that makes most of it.

        SDXL's second one takes a row of "!" apart, as "!" is its padding.
        """
        return max(len(self._windows(prompt, encoder)) for encoder in range(len(self.tokenizers)))

    def words_of(self, prompt: str) -> list[int]:
        """How many tokens each word of a prompt takes."""
        return [len(word) for word in self._split(prompt, 0)]

    def _encode(self, prompt: str) -> NDArray[np.int64]:
        framed = np.empty((len(self.tokenizers), self.windows, self.tokenizers[0].model_max_length), np.int64)
        for encoder, tokenizer in enumerate(self.tokenizers):
            filled = self._windows(prompt, encoder)
            if len(filled) > self.windows:
                room = self.windows * (framed.shape[2] - 2)
                raise PromptTooLong(prompt, sum(map(len, filled)), room, with_vectors=self.has_vectors)
            framed[encoder] = tokenizer.pad_token_id
            for window in range(self.windows):
                middle = filled[window] if window < len(filled) else []
                row = [tokenizer.bos_token_id, *middle, tokenizer.eos_token_id]
                framed[encoder, window, : len(row)] = row
        return framed

    def _windows(self, prompt: str, encoder: int) -> list[list[int]]:
        """The prompt's ids cut into windows between words, and never inside the new word."""
        room = self.room
        filled: list[list[int]] = [[]]
        for word in self._split(prompt, encoder):
            # A word that no window holds is cut: a string of signs, never the new word.
            for part in (word[start : start + room] for start in range(0, len(word), room)):
                if len(filled[-1]) + len(part) > room:
                    filled.append([])
                filled[-1] += part
        return filled

    def _split(self, prompt: str, encoder: int) -> list[list[int]]:
        """The ids of each word of the prompt; a word may take several."""
        words: list[list[int]] = []
        end = 0
        for match in self.pattern.finditer(prompt):
            words += _split_text(prompt[end : match.start()], self.tokenizers[encoder])
            # By its group: case is more than str.lower tells, such as that of the long s or of the dotted I.
            words.append(self.words[encoder][self.names[match.lastindex - 1]])  # type: ignore[operator]
            end = match.end()
        return words + _split_text(prompt[end:], self.tokenizers[encoder])


def _split_text(text: str, tokenizer: CLIPTokenizer) -> list[list[int]]:
    """As `Vocabulary._split`, of text without a new word."""
    ids = tokenizer(text, add_special_tokens=False)["input_ids"] if text.strip() else []
    ends = [token.endswith("</w>") for token in tokenizer.convert_ids_to_tokens(ids)]
    starts = [0, *(i + 1 for i, end in enumerate(ends) if end)]
    return [ids[start:end] for start, end in pairwise([*starts, len(ids)]) if end > start]
