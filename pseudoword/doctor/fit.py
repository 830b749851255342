"""Whether the settings fit the base model: the resolution, the word's name, the model itself."""

import math
import re
from collections.abc import Iterator

from transformers import CLIPTokenizer

from pseudoword.doctor.case import Case, shape, shown, sources
from pseudoword.doctor.model import Model
from pseudoword.findings import Finding, names
from pseudoword.word import NameTaken

# Of the px from those that the base model was trained on, as a share of the side. Buckets of small models are coarse.
MAX_DEVIATION, MAX_BUCKET_DEVIATION = 0.1, 0.25
END_OF_WORD = "</w>"
MIN_PIECE_LETTERS = 3  # letters from which a part of a name is a word that people write
MIN_NAME_LETTERS = 4  # letters from which one letter more, less or another makes a name that is easily mistyped


def resolution(case: Case) -> list[Finding]:
    """The base model cannot be read, or training sees pictures far from the px that it was trained on."""
    if isinstance(case.model, str):
        return [Finding(check="resolution", severity="error", message=case.model, advice="Set base.model.")]
    native = case.model.resolution
    # By area: a model takes other aspect ratios better than other sizes.
    ratios = {picture.source: math.sqrt(picture.px[0] * picture.px[1]) / native for picture in case.distinct}
    near = MAX_BUCKET_DEVIATION if case.intent.preprocess.shape == "buckets" else MAX_DEVIATION
    found = [picture for picture in case.distinct if abs(ratios[picture.source] - 1) > near]
    if not found:
        return []
    smaller = [picture for picture in found if ratios[picture.source] < 1]
    told = ["worse and cuts things off where they are smaller"] if smaller else []
    told += ["things twice and needs more memory where they are larger"] if len(smaller) < len(found) else []
    far = any(not 0.75 <= ratio <= 1.5 for ratio in ratios.values())
    shapes = [f"{shape(px)} px" for px in dict.fromkeys(picture.px for picture in found)]
    return [
        Finding(
            check="resolution",
            severity="warning" if far else "info",
            message=f"Training sees {len(found)} of {len(case.distinct)} pictures at {names(shapes)} "
            f"({names(sources(found))}), but the base model was trained on {native} px: it draws {' and '.join(told)}, "
            "and the word learns from what it makes of that.",
            advice=_towards(native, case.intent.preprocess.shape),
            pictures=shown(found),
            figure={"native": native, "px": {picture.source: list(picture.px) for picture in found}},
        )
    ]


def _towards(native: int, shape_by: str) -> str:
    if shape_by == "keep":
        return "Set preprocess.shape to buckets, which keeps the aspect ratio, or to square."
    if shape_by == "autosize":
        return f"Set preprocess.autosize.max_area to about {native**2}, or preprocess.shape to buckets."
    return f"Set preprocess.resolution to auto or {native}."


def name(case: Case) -> list[Finding]:
    """The name is a word of the base model, is put together from words, or is a slip of the pen away from one."""
    assert isinstance(case.model, Model)
    word, tokenizer = case.intent.name, case.model.tokenizer
    figure = {"tokens": [token.removesuffix(END_OF_WORD) for token in tokenizer.tokenize(word)]}
    if len(figure["tokens"]) == 1 and case.intent.of_hypernetwork:
        return [
            Finding(
                check="name",
                severity="info",
                message=f"word.name: '{word}' is a word that the base model knows, and beside a hypernetwork it means "
                "that in prompts.",
                advice=f"Choose letters that form no word, for example '{word}-x1'.",
                figure=figure,
            )
        ]
    if len(figure["tokens"]) == 1:
        message, _, advice = str(NameTaken(word)).partition(". ")
        return [Finding(check="name", severity="error", message=f"{message}.", advice=advice, figure=figure)]
    vocabulary = tokenizer.get_vocab()
    pieces = re.findall(r"[^\W_]+", word)
    free = f"Choose letters that form no word, for example '{word}-x1' or a name without vowels."
    if all(len(piece) >= MIN_PIECE_LETTERS and piece + END_OF_WORD in vocabulary for piece in pieces):
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
                message=f"word.name: '{word}' is one letter away from {', '.join(repr(known) for known in near[:5])}, "
                "which the base model knows: a slip of the pen draws something else.",
                advice=free,
                figure=figure,
            )
        ]
    return []


def _one_slip(word: str, tokenizer: CLIPTokenizer) -> set[str]:
    """Whole words of the vocabulary that one letter more, less or another makes of `word`."""
    if len(word) < MIN_NAME_LETTERS:
        return set()
    vocabulary = {token.removesuffix(END_OF_WORD) for token in tokenizer.get_vocab() if token.endswith(END_OF_WORD)}
    return {edit for edit in _edits(word) if len(edit) >= MIN_NAME_LETTERS} & vocabulary - {word}


def _edits(word: str) -> Iterator[str]:
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    for i in range(len(word) + 1):
        head, tail = word[:i], word[i:]
        yield from (head + letter + tail for letter in letters)
        if tail:
            yield head + tail[1:]
            yield from (head + letter + tail[1:] for letter in letters)
