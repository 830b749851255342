"""The choice in words: its reason, how sure it is, and the next edit of params.yaml, the captions or the pictures."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pseudoword.records import JudgesRecord, RunRecord
from stages.choose.selection import LEAST_PICTURES, RULE, Candidate, Figure, Selection

MIN_LIKENESS = 0.5  # below which the advice speaks of it
MIN_OBEDIENCE = 0.6  # likewise
MIN_VARIETY = 0.6  # of the init's
MAX_NEAREST = 0.5  # share of the drawn pictures to which one and the same training picture is the nearest
MIN_PICTURES = 4  # to learn from, below which one of them is the nearest by chance
LOWER = 2.5  # a learning rate that burns is divided by it, one that learns nothing multiplied


@dataclass(frozen=True)
class Told:
    reason: str
    notes: list[str]  # how sure it is, and what could not be measured
    advice: list[str]


def told(
    selection: Selection, judges: JudgesRecord, records: Mapping[str, RunRecord], last: Mapping[str, int],
    nearest: Sequence[str],
) -> Told:  # fmt: skip
    """records  of each run
    last     the last step of each run
    nearest  for each picture of the chosen checkpoint, the file of the training picture that is nearest to it
    """
    record = records[selection.chosen.run]
    return Told(
        reason=" ".join(_reason(selection, judges, judges.start_of(record), len(records) > 1)),
        notes=list(_notes(selection, judges, len(records) > 1)),
        advice=[*_grouped(judges, record), *_advice(selection, record, last[selection.chosen.run], nearest)],
    )


def _reason(selection: Selection, judges: JudgesRecord, start: str, several: bool) -> Iterator[str]:
    chosen, figures = selection.chosen, selection.figures[selection.chosen.key]
    if not selection.better_than_init:
        others = any(selection.figures[key]["likeness"].low > 0 for key in selection.vetoes)
        yield "Every checkpoint is ruled out." if others else f"Nothing can be shown to be better than {start}."
        yield f"The best score has {_name(chosen, several)}: {selection.vetoes[chosen.key]}."
        return
    like, identity, obedient = (percent(figures[name]) for name in RULE)
    controls = judges.obedience.source == "controls"
    top = "is drawn with nothing in the word's place" if controls else "the real pictures reach with their captions"
    yield (
        f"{_name(chosen, several).capitalize()}: likeness {like} of the way from what {start} draws to the "
        f"pictures among themselves; {identity} of its pictures are told from what {start} draws; obedience "
        f"{obedient} of what {top}."
    )
    if chosen.key != selection.best.key:
        yield (
            f"It is the earliest of {len(selection.tied)} that cannot be told from the best score "
            f"({_name(selection.best, several)})."
        )
    if selection.vetoes:
        yield f"Ruled out: {len(selection.vetoes)} of {len(selection.figures)}."


def _notes(selection: Selection, judges: JudgesRecord, several: bool) -> Iterator[str]:
    if selection.sure is not None and selection.better_than_init:
        yield f"In {selection.sure:.0%} of the resampled evidence it is within 0.02 of the best score."
    others = [c for c in selection.tied if c.key != selection.chosen.key]
    if others and selection.better_than_init:
        names = ", ".join(_name(c, several) for c in others[:5]) + (", ..." if len(others) > 5 else "")
        way = f"; evaluate.seeds: {selection.seeds} would" if selection.seeds else ""
        yield f"This evidence cannot tell {_name(selection.chosen, several)} from {names}{way}."
    if selection.pictures < LEAST_PICTURES and selection.better_than_init:
        yield _too_few(selection)
    if judges.weak:
        found = judges.retrieval
        told = "could not be tried on one picture" if found is None else f"knew {found.value:.0%} of the pictures again"
        yield f"Likeness is weak evidence: the judge {told}."
    for name in selection.unmeasured:
        yield f"{name.capitalize()} could not be measured and takes no part in the score."
    for name in ("variety", "copying", "overbaked"):
        if name not in selection.unmeasured and _missing(selection.figures[selection.chosen.key][name]):
            yield f"{name.capitalize()} could not be measured."


def _too_few(selection: Selection) -> str:
    number = f"{selection.pictures} picture{'s' if selection.pictures > 1 else ''}"
    tell = "tell" if selection.pictures > 1 else "tells"
    return f"{number} of each checkpoint {tell} next to nothing apart: add prompts, or raise evaluate.seeds."


def _grouped(judges: JudgesRecord, record: RunRecord) -> Iterator[str]:
    if judges.groups:
        larger, smaller = judges.groups
        yield (
            f"The judge sees two groups in the pictures: {_some(smaller)} lie apart from the other {len(larger)}. If "
            f"they do not show one {judges.kind}, leave one group out: a {record.learned} learns what all have in "
            "common."
        )


def _some(files: Sequence[str]) -> str:
    return ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")


def _advice(selection: Selection, record: RunRecord, last: int, nearest: Sequence[str]) -> Iterator[str]:
    figures = selection.figures[selection.chosen.key]
    word = record.settings.get("word", {})
    # Of the run that the advice is about: another one of the sweep may burn at another rate.
    vetoes = Counter(veto.kind for (run, _), veto in selection.vetoes.items() if run == selection.chosen.run)
    drawn = sum(run == selection.chosen.run for run, _ in selection.figures)
    burnt = vetoes["overbaked"] + vetoes["broken"]
    drowns, uniform = figures["obedience"].value < MIN_OBEDIENCE, figures["variety"].value < MIN_VARIETY
    weak = figures["likeness"].value < MIN_LIKENESS  # so neither fewer steps nor a lower rate
    further = selection.better_than_init and not (drowns or uniform)  # of which longer or faster there would be more
    veto = selection.vetoes.get(selection.chosen.key)
    if veto and veto.kind == "unlike" and figures["likeness"].value > 0:  # it may be: more evidence before another rate
        if selection.pictures < LEAST_PICTURES:
            yield _too_few(selection)
            return
        if selection.seeds:
            more = f"evaluate.seeds: {selection.seeds} would tell whether it is"
            yield f"It seems a little better than the start; {more}."
            return
    if not selection.better_than_init and vetoes["copying"]:
        yield (
            f"The {record.learned} repeats its pictures: learn from more of them, or from more different ones, for "
            f"fewer steps, or at a lower rate{_rate(record, 1 / LOWER)}."
        )
    elif not selection.better_than_init and vetoes["unmeasured"]:
        yield (
            f"The judge cannot tell what {record.start} draws from the pictures: take another word.init_text, or "
            "another judge.images."
        )
    elif not selection.better_than_init and not burnt:
        init = "" if record.of_hypernetwork else "Then word.init_text: is it the plain name of the thing? "
        yield (
            f"Look at outputs/captions.csv: does a caption name what is to be learned? {init}Then a higher rate"
            f"{_rate(record, LOWER)}."
        )
    if burnt and (not selection.better_than_init or 2 * burnt > drawn):
        free = record.settings["train"].get("norm") == "free" and not record.of_hypernetwork
        held = ", or train.norm: rescale" if free else ""
        yield f"The {record.learned} burns: start over with a lower rate{_rate(record, 1 / LOWER)}{held}."
    elif further and selection.chosen.step == last == selection.best.step:
        if record.ended and record.ended.early:
            lower = f"a lower rate may go on{_rate(record, 1 / LOWER)}"
            way = "train.early_stop.enabled: false goes on" if record.ended.levelled_out else lower
            yield f"The last checkpoint is the best one, and {record.ended.early}; {way}."
        else:
            yield f"The last checkpoint is the best one: train longer, for example train.steps: {2 * last}."
    elif further and weak:
        yield (
            f"It has come {figures['likeness'].value:.0%} of the way to the pictures: train longer, for example "
            f"train.steps: {2 * last}, or at a higher rate{_rate(record, LOWER)}."
        )
    if not selection.better_than_init:
        return
    if drowns:
        vectors = word.get("vectors")
        fewer = f" (word.vectors: {vectors // 2})" if isinstance(vectors, int) and vectors > 1 else ""
        weaker = "use it at a lower strength" if record.of_hypernetwork else f"take fewer vectors{fewer}"
        yield (
            f"The {record.learned} drowns its prompts: let the captions say more of what is around it, or {weaker}"
            f"{'' if weak else f', or a lower rate{_rate(record, 1 / LOWER)}'}."
        )
    if uniform:
        fewer = "" if weak else ", or fewer steps"
        yield f"It draws much the same picture from every noise: take more different pictures to learn from{fewer}."
    if len(nearest) >= MIN_PICTURES and record.pictures >= MIN_PICTURES:
        file, number = Counter(nearest).most_common(1)[0]
        if number > MAX_NEAREST * len(nearest):
            yield (
                f"Look at {file}: of what is drawn {number / len(nearest):.0%} is laid out as it is. Describe in its "
                "caption what should not come along, crop it otherwise, or leave it out."
            )


def _name(candidate: Candidate, several: bool) -> str:
    return f"step {candidate.step}{f' of {candidate.run}' if several else ''}"


def percent(figure: Figure) -> str:
    """With its interval, in words."""
    if _missing(figure):
        return "unknown"
    interval = "" if math.isnan(figure.low) else f" ({figure.low:.0%} to {figure.high:.0%})"
    return f"{figure.value:.0%}{interval}"


def _missing(figure: Figure) -> bool:
    return figure.value != figure.value


def _rate(record: RunRecord, factor: float) -> str:
    """` (train.learn_rate: 0.002)` where the rate is a number."""
    section = "hypernetwork" if record.of_hypernetwork else "train"
    try:
        return f" ({section}.learn_rate: {float(record.settings[section]['learn_rate']) * factor:.2g})"
    except (KeyError, TypeError, ValueError):
        return ""
