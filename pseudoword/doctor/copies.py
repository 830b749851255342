"""Which pictures are one photograph, in whatever crop, size or mirroring."""

from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np

from pseudoword.doctor.matching import Comparable, match
from pseudoword.doctor.pictures import MeasuredPicture, progress

MIN_CORRELATION = 0.86  # see docs/doctor.md: crops of one photograph 0.87 and more, two photographs 0.83 and less
MAX_PICTURES_FOR_ALL_PAIRS = 40
CACHED_PICTURES = 128  # prepared ones, which take about 2.4 MiB each
NEIGHBOURS = 6  # of more pictures, each is compared with those nearest in colour


class Copies(NamedTuple):
    """Pictures of one photograph, in their order; `correlation` is the least of those that hold them together."""

    pictures: list[MeasuredPicture]
    correlation: float
    mirrored: bool


def find_copies(pictures: list[MeasuredPicture]) -> list[Copies]:
    """A group for each photograph that is there more than once, in the order of their first pictures."""
    prepared = lru_cache(maxsize=CACHED_PICTURES)(lambda i: Comparable(pictures[i].grey))
    pairs = progress(_pairs(pictures), "compare", "pair")
    matches = {(i, j): match(prepared(i), prepared(j)) for i, j in pairs}
    same = {pair: found for pair, found in matches.items() if found.correlation >= MIN_CORRELATION}
    groups = []
    for members in _components(list(same)):
        found = [match for (i, _), match in same.items() if i in members]
        least, mirrored = min(match.correlation for match in found), any(match.mirrored for match in found)
        groups.append(Copies([pictures[i] for i in members], least, mirrored))
    return groups


def _pairs(pictures: list[MeasuredPicture]) -> list[tuple[int, int]]:
    if len(pictures) <= MAX_PICTURES_FOR_ALL_PAIRS:
        return list(combinations(range(len(pictures)), 2))
    table = np.stack([picture.colours for picture in pictures])
    pairs = set()
    for i, row in enumerate(table):
        nearest = np.argsort(-np.minimum(table, row).sum(1), kind="stable")
        pairs |= {(min(i, j), max(i, j)) for j in nearest[: NEIGHBOURS + 1].tolist() if j != i}
    return sorted(pairs)


def _components(pairs: list[tuple[int, int]]) -> list[list[int]]:
    """Connected components of the graph of pairs, each sorted, by their first members."""
    group: dict[int, set[int]] = {}
    for i, j in pairs:
        joined = group.get(i, {i}) | group.get(j, {j})
        group |= dict.fromkeys(joined, joined)
    return sorted(map(list, {tuple(sorted(members)) for members in group.values()}))
