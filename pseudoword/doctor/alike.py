"""Pictures that are one photograph."""

from functools import lru_cache
from itertools import combinations

import numpy as np

from pseudoword.doctor.case import Case, shown, sources
from pseudoword.doctor.matching import Comparable, Match, match
from pseudoword.doctor.pictures import MeasuredPicture, progress
from pseudoword.findings import Finding, names

MIN_CORRELATION = 0.86  # see docs/doctor.md: crops of one photograph 0.87 and more, two photographs 0.83 and less
MAX_PICTURES_FOR_ALL_PAIRS = 40  # pictures of which every pair is compared
CACHED_PICTURES = 128  # pictures that stay prepared, which takes about 2.4 MiB for each
NEIGHBOURS = 6  # with more, each is compared with those nearest in colour


def near_duplicates(case: Case) -> list[Finding]:
    """A finding for each group of pictures that are one photograph, in whatever crop, size or mirroring."""
    pictures = case.originals
    prepared = lru_cache(maxsize=CACHED_PICTURES)(lambda i: Comparable(pictures[i].grey))
    pairs = _pairs(pictures)
    matches = {pair: match(prepared(pair[0]), prepared(pair[1])) for pair in progress(pairs, "compare", "pair")}
    same = {pair: found for pair, found in matches.items() if found.correlation >= MIN_CORRELATION}
    return [_finding([pictures[i] for i in group], same, group) for group in _groups(list(same))]


def _pairs(pictures: list[MeasuredPicture]) -> list[tuple[int, int]]:
    count = len(pictures)
    if count <= MAX_PICTURES_FOR_ALL_PAIRS:
        return list(combinations(range(count), 2))
    table = np.stack([picture.colours for picture in pictures])
    pairs = set()
    for i, row in enumerate(table):
        nearest = np.argsort(-np.minimum(table, row).sum(1), kind="stable")
        pairs |= {(min(i, j), max(i, j)) for j in nearest[: NEIGHBOURS + 1].tolist() if j != i}
    return sorted(pairs)


def _groups(pairs: list[tuple[int, int]]) -> list[list[int]]:
    """Connected components of the graph of pairs, each sorted, by their first members."""
    group: dict[int, set[int]] = {}
    for i, j in pairs:
        joined = group.get(i, {i}) | group.get(j, {j})
        group |= dict.fromkeys(joined, joined)
    return sorted(map(list, {tuple(sorted(members)) for members in group.values()}))


def _finding(pictures: list[MeasuredPicture], same: dict[tuple[int, int], Match], group: list[int]) -> Finding:
    found = [match for pair, match in same.items() if pair[0] in group]
    mirrored = " (mirrored)" if any(match.mirrored for match in found) else ""
    return Finding(
        check="alike",
        severity="warning",
        message=f"{names(sources(pictures))} are one photograph{mirrored}: the word learns it harder than the "
        "others, with all that happens to be in it.",
        advice="Keep the best of them and take the others out of the folder.",
        pictures=shown(pictures),
        figure={"correlation": round(min(match.correlation for match in found), 3)},
    )
