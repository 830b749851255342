"""Captions that fit their picture worse than the other captions of the set do, as the judge sees it."""

from collections.abc import Iterable, Sequence

import torch
from PIL import Image
from torch import Tensor

from pseudoword.captions.lint import finding_of
from pseudoword.captions.merging import CaptionRow
from pseudoword.findings import Finding
from pseudoword.judge import TextJudge

MIN_CAPTIONS = 4  # different captions under which there is nothing to compare with
# Share of the median fit under which a caption is doubted, where the picture prefers another caption of the set. Of the
# 165 ways to give one picture of data/sample the caption of another, 145 are found; the right ones lie above 0.86.
MIN_FIT = 0.4


def differing(rows: Sequence[CaptionRow], pictures: Iterable[Image.Image], judge: TextJudge) -> list[Finding]:
    """The rows whose caption is doubted; `pictures` are theirs, in their order."""
    said = [row for row in rows if row.caption]
    captions = sorted({row.caption for row in said})
    if len(captions) < MIN_CAPTIONS:
        return []
    shown = (picture for row, picture in zip(rows, pictures, strict=True) if row.caption)
    similarity = judge.pictures(shown) @ judge.texts(captions).T
    written = torch.tensor([captions.index(row.caption) for row in said])
    fits, best = fit(similarity, written), similarity.argmax(1)
    doubted = (fits < MIN_FIT * fits.median().clamp(min=0)) & (best != written)
    found = {i: said[i] for i in doubted.nonzero().flatten().tolist()}
    # A mirrored copy is doubted as its picture is.
    first = {row.once: i for i, row in reversed(found.items())}
    return [_finding(row, captions[int(best[i])]) for i, row in found.items() if first[row.once] == i]


def fit(similarity: Tensor, written: Tensor) -> Tensor:
    """(N,) from (N pictures, M captions): by how much a picture prefers its own caption, more than other pictures do.

    So neither a caption that suits everything nor a picture that nothing suits is blamed. `written` (N,) int64 is each
    picture's caption; M is at least 2, and each caption is some picture's own.
    """
    number, captions = similarity.shape
    preferred = similarity - (similarity.sum(1, keepdim=True) - similarity) / (captions - 1)
    mine = torch.nn.functional.one_hot(written, captions).bool()
    others = preferred.masked_fill(mine, 0).sum(0) / (number - mine.sum(0)).clamp(min=1)
    return preferred[torch.arange(number), written] - others[written]


def _finding(row: CaptionRow, nearer: str) -> Finding:
    return finding_of(
        row, "differs from the picture", "warning",
        f"the judge finds little of it in the picture; of the set's captions '{nearer}' is nearer",
        "look at the picture and say what it shows",
    )  # fmt: skip
