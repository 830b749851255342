"""Captions that fit their picture worse than the other captions of the set do, as the judge sees it."""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from pseudoword.captions.lint import Finding
from pseudoword.captions.merging import Row
from pseudoword.judge import Judge

FEW = 4  # different captions under which there is nothing to compare with
# Share of the median fit under which a caption is doubted, where the picture prefers another caption of the set. Of the
# 165 ways to give one picture of data/sample the caption of another, 145 are found; the right ones lie above 0.86.
POOR = 0.4


def differing(rows: Sequence[Row], pictures: Sequence[Image.Image], judge: Judge) -> list[Finding]:
    """The rows whose caption is doubted; `pictures` are theirs, in their order."""
    said = [(row, picture) for row, picture in zip(rows, pictures, strict=True) if row.caption]
    captions = sorted({row.caption for row, _ in said})
    if len(captions) < FEW:
        return []
    similarity = judge.pictures([picture for _, picture in said]) @ judge.texts(captions).T
    own = torch.tensor([captions.index(row.caption) for row, _ in said])
    fits, best = fit(similarity, own), similarity.argmax(1)
    doubted = (fits < POOR * fits.median().clamp(min=0)) & (best != own)
    found = {at: said[at][0] for at in doubted.nonzero().flatten().tolist()}
    # A mirrored copy is doubted as its picture is.
    first = {row.once: at for at, row in reversed(found.items())}
    return [_finding(row, captions[int(best[at])]) for at, row in found.items() if first[row.once] == at]


def fit(similarity: Tensor, own: Tensor) -> Tensor:
    """(N,) from (N pictures, M captions): by how much a picture prefers its own caption, more than other pictures do.

    So neither a caption that suits everything nor a picture that nothing suits is blamed. `own` (N,) int64 is each
    picture's caption; M is at least 2, and each caption is some picture's own.
    """
    number, captions = similarity.shape
    preferred = similarity - (similarity.sum(1, keepdim=True) - similarity) / (captions - 1)
    mine = torch.nn.functional.one_hot(own, captions).bool()
    others = preferred.masked_fill(mine, 0).sum(0) / (number - mine.sum(0)).clamp(min=1)
    return preferred[torch.arange(number), own] - others[own]


def _finding(row: Row, nearer: str) -> Finding:
    return Finding(
        row.id, row.source, "differs from the picture", "warning", row.caption,
        f"the judge finds little of it in the picture; of the set's captions '{nearer}' is nearer",
        "look at the picture and say what it shows",
    )  # fmt: skip
