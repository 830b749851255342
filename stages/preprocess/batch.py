"""All files of the folder, several at a time; what comes out is in the order of their names and the same every time."""

import os
from concurrent.futures import ThreadPoolExecutor

from tqdm import tqdm

from stages.preprocess.converting import Converter, Outcome, skipped
from stages.preprocess.folder import Listing, NotUsable, Source, check_file, content_id
from stages.preprocess.sheet import ROOM

# Decoders, filters and encoders let go of the interpreter's lock, so threads do, and need no memory of their own.
WORKERS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def convert_all(listing: Listing, convert: Converter) -> list[Outcome]:
    """What became of each file, in their order, then of each mask without a picture.

    Of files with the same bytes only the first becomes a picture.
    """
    sources, done = listing.sources, dict[str, Outcome]()
    outcomes = []
    with ThreadPoolExecutor(WORKERS) as pool:
        names = list(pool.map(lambda source: _identify(source, convert), sources))
        first = {name: at for at, (name, _) in reversed(list(enumerate(names)))}

        def outcome(at: int) -> Outcome | None:
            (name, reason), cell = names[at], at < ROOM
            if reason:
                return skipped(sources[at], reason, cell)
            return convert(sources[at], name, cell) if first[name] == at else None

        results = pool.map(outcome, range(len(sources)))
        for at, result in enumerate(tqdm(results, "preprocess", len(sources), unit="file", mininterval=1)):
            name = names[at][0]
            if result is None:
                reason = done[name].reason or _same(sources[at], sources[first[name]])
                result = skipped(sources[at], reason, at < ROOM)
            else:
                done[name] = result
            outcomes.append(result)
    alone = "a mask, but there is no picture of its name beside it"
    return outcomes + [skipped(mask, alone, at < ROOM) for at, mask in enumerate(listing.orphans, len(sources))]


def _identify(source: Source, convert: Converter) -> tuple[str, str]:
    """(id, ''), or ('', the reason why the file cannot be used)."""
    try:
        check_file(source.path, convert.folder, convert.wanted.recursive)
        return content_id(source.path), ""
    except NotUsable as error:
        return "", str(error)


def _same(source: Source, kept: Source) -> str:
    if source.mask is None or source.mask == kept.mask:
        return f"same as {kept.name}"
    return f"same as {kept.name}, so its mask {source.mask.name} is not used"
