"""Whether the settings fit the base model: the resolution, the word's name, the model itself."""

import re
from collections.abc import Iterator

from transformers import CLIPTokenizer

from pseudoword.doctor.case import Case
from pseudoword.doctor.finding import Finding
from pseudoword.doctor.model import Model
from pseudoword.word import NameTaken

END = "</w>"
PIECE = 3  # letters from which a part of a name is a word that people write
NEAR = 4  # letters from which one letter more, less or another makes a name that is easily mistyped


def resolution(case: Case) -> list[Finding]:
    """The base model cannot be read, or the pictures are far from the px that it was trained on."""
    if isinstance(case.model, str):
        return [Finding(check="resolution", severity="error", message=case.model, advice="Set base.model.")]
    native, chosen = case.model.resolution, case.intent.resolution
    if chosen in ("auto", native):
        return []
    ratio = int(chosen) / native
    smaller = ratio < 1
    return [
        Finding(
            check="resolution",
            severity="warning" if not 0.75 <= ratio <= 1.5 else "info",
            message=f"preprocess.resolution is {chosen} px, but the base model was trained on {native} px: it draws "
            + ("worse and cuts things off" if smaller else "things twice and needs more memory")
            + " there, and the word learns from what it makes of that.",
            advice=f"Set preprocess.resolution to auto or {native}.",
            figure={"resolution": int(chosen), "native": native},
        )
    ]


def name(case: Case) -> list[Finding]:
    """The name is a word of the base model, is put together from words, or is a slip of the pen away from one."""
    assert isinstance(case.model, Model)
    word, tokenizer = case.intent.name, case.model.tokenizer
    figure = {"tokens": [token.removesuffix(END) for token in tokenizer.tokenize(word)]}
    if len(figure["tokens"]) == 1:
        message, _, advice = str(NameTaken(word)).partition(". ")
        return [Finding(check="name", severity="error", message=f"{message}.", advice=advice, figure=figure)]
    vocabulary = tokenizer.get_vocab()
    pieces = re.findall(r"[^\W_]+", word)
    free = f"Choose letters that form no word, for example '{word}-x1' or a name without vowels."
    if all(len(piece) >= PIECE and piece + END in vocabulary for piece in pieces):
        return [
            Finding(
                check="name",
                # Not worse: the vocabulary of a real model has most short names and many rare strings in it.
                severity="info",
                message=f"word.name: '{word}' is put together from words that the base model knows "
                f"({', '.join(pieces)}), which a prompt may hold by accident.",
                advice=free,
                figure=figure,
            )
        ]
    if near := sorted(_one_slip(word, tokenizer)):
        return [
            Finding(
                check="name",
                severity="info",
                message=f"word.name: '{word}' is one letter away from {', '.join(repr(other) for other in near[:5])}, "
                "which the base model knows: a slip of the pen draws something else.",
                advice=free,
                figure=figure,
            )
        ]
    return []


def _one_slip(word: str, tokenizer: CLIPTokenizer) -> set[str]:
    """Whole words of the vocabulary that one letter more, less or another makes of `word`."""
    if len(word) < NEAR:
        return set()
    vocabulary = {token.removesuffix(END) for token in tokenizer.get_vocab() if token.endswith(END)}
    return {other for other in _edits(word) if len(other) >= NEAR} & vocabulary - {word}


def _edits(word: str) -> Iterator[str]:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    for at in range(len(word) + 1):
        head, tail = word[:at], word[at:]
        yield from (head + letter + tail for letter in letters)
        if tail:
            yield head + tail[1:]
            yield from (head + letter + tail[1:] for letter in letters)
