"""Obedience: does a picture show what its prompt asks for besides the word?

value          margin / ceiling. The margin is the cosine to the prompt without the word, less the mean cosine of that
               text to the pictures that were drawn of the other prompts with nothing in the word's place. The ceiling
               is the mean margin of the training pictures, each with its own caption: a concept cannot obey better
               than it looks. Where nothing is captioned, it is the margin of the controls with nothing in the word's
               place. So 0 is a picture of another prompt, 1 one that shows its prompt as the real pictures show their
               captions. NaN where the prompt says nothing besides the word, or the judge reads neither captions nor
               prompts
direction      higher is better, up to 1
source         CLIP-T of Gal et al. 2022, which takes the word out of the prompt, on a scale between two controls
preprocessing  the text judge's own
"""

from functools import cache
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from stages.judge.measures.measure import Evidence, Floats, Measure, Training

MIN_CEILING = 0.01  # of cosine: below it the judge cannot tell a picture that obeys from one that does not


class Ceiling(NamedTuple):
    margin: float
    source: Literal["captions", "controls", ""]  # empty: there is none


def margins(pictures: Tensor, texts: list[str], text_embeddings: Tensor, others: Tensor, of: list[str]) -> Floats:
    """The margin of each picture with its text, (n,): cosine, less the mean of the text's cosines to `others`.

    others  pictures, (m, E), each with its own text in `of`; those of the same text are left out. Where no other text
            is left, all of them count
    """
    found = np.full(len(texts), np.nan)
    for i, text in enumerate(texts):
        if text:
            rows = [j for j, theirs in enumerate(of) if theirs != text] or list(range(len(of)))
            elsewhere = (others[rows] @ text_embeddings[i]).double().mean()
            found[i] = float((pictures[i] @ text_embeddings[i]).double() - elsewhere)
    return found


@cache
def of_training(training: Training) -> float:
    """Mean margin of the training pictures with their own captions; NaN without two different captions."""
    captioned = [i for i, caption in enumerate(training.captions) if caption]
    if len({training.captions[i] for i in captioned}) < 2:
        return float("nan")
    embeddings, captions = training.sight.embeddings, [training.captions[i] for i in captioned]
    own = embeddings[captioned]
    return float(margins(own, captions, training.caption_embeddings[captioned], own, captions).mean())


def margins_of(evidence: Evidence, embeddings: Tensor) -> Floats:
    """(P,) of drawn pictures. Where all prompts say the same, the training pictures stand for other prompts."""
    others, of = evidence.nothing.embeddings, evidence.texts
    if len(set(of)) == 1:
        others, of = evidence.training.sight.embeddings, [""] * len(evidence.training.ids)
    return margins(embeddings, evidence.texts, evidence.text_embeddings, others, of)


def ceiling(evidence: Evidence) -> Ceiling:
    if (margin := of_training(evidence.training)) >= MIN_CEILING:
        return Ceiling(margin, "captions")
    of_controls = margins_of(evidence, evidence.nothing.embeddings)
    present = of_controls[np.isfinite(of_controls)]
    if len(present) and present.mean() >= MIN_CEILING:
        return Ceiling(float(present.mean()), "controls")
    return Ceiling(float("nan"), "")


def obedience(evidence: Evidence) -> Floats:
    return margins_of(evidence, evidence.drawn.embeddings) / ceiling(evidence).margin


OBEDIENCE = Measure("obedience", True, obedience)
