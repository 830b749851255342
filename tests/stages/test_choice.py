"""The choice as arithmetic: a table of worked examples, and what it should do whatever the figures."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from stages.evaluate.choice import Candidate, choose, likeness_of, obedience_of

CEILING = 0.8


def drawn(
    step: int, image: float | list[float], text: float | list[float] = 0.3, blank: int = 0, run: str = "base"
) -> Candidate:
    """A checkpoint by the values of its pictures; of four where all have the same, the first `blank` of one colour."""
    number = max(len(values) if isinstance(values, list) else 4 for values in (image, text))
    measured = {
        name: np.broadcast_to(values, number)
        for name, values in (("image_similarity", image), ("text_similarity", text))
    }
    return Candidate(run, step, {**measured, "blank": (np.arange(number) < blank).astype(float)})


START = drawn(0, 0.4)


@dataclass(frozen=True)
class Example:
    """Candidates with the start before them, and what comes of them; likeness is (image - 0.4) / 0.4."""

    candidates: list[Candidate]
    step: int
    scores: list[float]
    tied: list[int]
    vetoes: dict[int, str] = field(default_factory=dict)
    advice: list[str] = field(default_factory=list)  # how each begins
    weight: float = 0.5
    start: Candidate = START


LAST, DROWNS, NOTHING = "The last checkpoint", "The word drowns", "No checkpoint"
SIX = drawn(0, [0.4] * 6)
EXAMPLES = {
    # sqrt(0.5 x 1) and sqrt(0.75 x 0.9)
    "likeness and obedience count alike": Example(
        [drawn(20, 0.6), drawn(40, 0.7, 0.27), drawn(60, 0.5)], 40, [0.70711, 0.82158, 0.5], [40]
    ),
    # 0.5 ^ 0.25 x 1 and 0.75 ^ 0.25 x 0.5 ^ 0.75
    "a weight of a quarter is that of likeness": Example(
        [drawn(20, 0.6), drawn(40, 0.7, 0.15), drawn(60, 0.5)], 20, [0.84090, 0.55334, 0.70711], [20], weight=0.25
    ),
    "more than the ceiling earns nothing, more obedience than the start's neither": Example(
        [drawn(20, 0.95, 0.5), drawn(40, 0.5)], 20, [1.0, 0.5], [20]
    ),
    "a checkpoint that is no nearer than the start is vetoed, with a score of sqrt(0.001)": Example(
        [drawn(20, 0.4), drawn(40, 0.6), drawn(60, 0.5)],
        40,
        [0.031623, 0.70711, 0.5],
        [40],
        {20: "no more like the pictures than the start"},
    ),
    "without any obedience the share is a thousandth too": Example(
        [drawn(20, 0.6, 0.0), drawn(40, 0.44)], 40, [0.022361, 0.31623], [40], advice=[LAST]
    ),
    "a quarter of blank pictures is borne": Example(
        [drawn(20, 0.6, blank=1), drawn(40, 0.5)], 20, [0.70711, 0.5], [20]
    ),
    "two of four blank pictures are not": Example(
        [drawn(20, 0.6, blank=2), drawn(40, 0.5)],
        40,
        [0.70711, 0.5],
        [40],
        {20: "50% of the pictures are blank"},
        [LAST],
    ),
    # Obedience 1 - 0.02 / 0.05 = 0.6
    "of a start with next to no obedience little is lost": Example(
        [drawn(20, 0.6, 0.0), drawn(40, 0.5, 0.0)],
        20,
        [0.54772, 0.38730],
        [20],
        advice=[DROWNS],
        start=drawn(0, 0.4, 0.02),
    ),
    "79 % of the start's obedience is too little": Example(
        [drawn(20, 0.6, 0.237), drawn(40, 0.5)], 20, [0.62849, 0.5], [20], advice=[DROWNS]
    ),
    "81 % of it is enough": Example([drawn(20, 0.6, 0.243), drawn(40, 0.5)], 20, [0.63640, 0.5], [20]),
    # The interval of the difference holds 0, and the scores differ by 0.018.
    "a small difference that may be chance is a tie, and the earlier one is chosen": Example(
        [drawn(20, [0.58, 0.62, 0.58, 0.62]), drawn(40, [0.64, 0.58, 0.64, 0.5808])], 20, [0.70711, 0.72491], [20, 40]
    ),
    # As before, but by 0.024.
    "a difference of 0.024 is none that may be passed over": Example(
        [drawn(20, [0.58, 0.62, 0.58, 0.62]), drawn(40, [0.645, 0.582, 0.645, 0.5828])],
        40,
        [0.70711, 0.73092],
        [40],
        advice=[LAST],
    ),
    # Each picture is better by 0.005, so no resampling turns it round.
    "a small difference that is the same for every picture is no tie": Example(
        [drawn(20, [0.58, 0.62, 0.58, 0.62]), drawn(40, [0.585, 0.625, 0.585, 0.625])],
        40,
        [0.70711, 0.71589],
        [40],
        advice=[LAST],
    ),
    # At 2.4 and 2.6 % of the resamplings; a tenth or ten times as many would have each the other way round.
    "an interval that just leaves out 0": Example(
        [drawn(20, [0.592, 0.632, 0.637, 0.584, 0.619, 0.593]), drawn(40, [0.587, 0.629, 0.656, 0.594, 0.625, 0.605])],
        40,
        [0.72371, 0.73485],
        [40],
        advice=[LAST],
        start=SIX,
    ),
    "an interval that just holds 0": Example(
        [drawn(20, [0.569, 0.565, 0.599, 0.616, 0.595, 0.601]), drawn(40, [0.598, 0.557, 0.606, 0.624, 0.601, 0.612])],
        20,
        [0.69071, 0.70652],
        [20, 40],
        start=SIX,
    ),
    # A way of a millionth at least: 0.25e-6 of it is a quarter.
    "a start that lies above the ceiling leaves next to no way": Example(
        [drawn(20, 0.90000025), drawn(40, 0.9)],
        20,
        [0.5, 0.031623],
        [20],
        {40: "no more like the pictures than the start"},
        start=drawn(0, 0.9),
    ),
    "when all are vetoed the best of them is named, and what to look at": Example(
        [drawn(20, 0.35), drawn(40, 0.3)],
        20,
        [0.031623, 0.031623],
        [20, 40],
        {20: "no more like the pictures than the start", 40: "no more like the pictures than the start"},
        [NOTHING],
    ),
}


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_worked_examples(example: Example):
    selection = choose([example.start, *example.candidates], CEILING, example.weight)
    found = {step: score for (_, step), score in selection.scores.items()}
    assert found == pytest.approx(
        dict(zip((c.step for c in example.candidates), example.scores, strict=True)), abs=5e-5
    )
    assert (selection.step, selection.tied) == (example.step, example.tied)
    assert {step: veto for (_, step), veto in selection.vetoes.items()} == example.vetoes
    assert len(selection.advice) == len(example.advice)
    assert all(found.startswith(text) for found, text in zip(selection.advice, example.advice, strict=True))


def test_the_reason_in_words():
    """One sentence for each thing that spoke for it or against it."""
    selection = choose(
        [START, drawn(20, [0.58, 0.62, 0.58, 0.62]), drawn(40, [0.64, 0.58, 0.64, 0.5808]), drawn(60, 0.4)],
        CEILING,
        0.5,
    )
    assert selection.reason == (
        "Step 20: likeness to the pictures 0.600, 50% of the way from the start (0.400) to the pictures among "
        "themselves (0.800); 100% of the start's obedience to the prompts is kept. It is the earliest of 2 that cannot "
        "be told from the best score (step 40). Going on to step 60 changes likeness by -50% and obedience by -0%. "
        "Vetoed: 1 of 3."
    )


def candidate(
    step: int, image: float, text: float, run: str = "base", spread: float = 0.02, blank: float = 0.0
) -> Candidate:
    """A checkpoint of 16 pictures around two means; their scatter is the same for all, as with one noise."""
    scatter = np.random.default_rng(0).normal(0, spread, (2, 16))
    noise = np.random.default_rng(step + 1).normal(0, 0.002, (2, 16))
    measured = {"image_similarity": image + scatter[0] + noise[0], "text_similarity": text + scatter[1] + noise[1]}
    return Candidate(run, step, {**measured, "blank": (np.arange(16) < 16 * blank).astype(float)})


def test_a_clearly_better_checkpoint_is_chosen():
    choice = choose([candidate(0, 0.4, 0.3), candidate(20, 0.5, 0.3), candidate(40, 0.7, 0.29)], CEILING, 0.5)
    assert choice.step == 40
    assert "Step 40" in choice.reason
    assert any("more train.steps" in line for line in choice.advice)


def test_among_ties_the_earliest_is_chosen_and_the_reason_says_so():
    later = [candidate(step, 0.70, 0.29) for step in (40, 60, 80)]
    choice = choose([candidate(0, 0.4, 0.3), candidate(20, 0.5, 0.3), *later], CEILING, 0.5)
    assert choice.step == 40
    assert choice.reason.count("earliest") == (choice.scores["base", 40] < max(choice.scores.values()))


def test_likeness_bought_with_disobedience_is_not_worth_it():
    flexible, burnt = candidate(40, 0.70, 0.29), candidate(200, 0.78, 0.05)
    assert choose([candidate(0, 0.4, 0.3), flexible, burnt], CEILING, 0.5).step == 40
    assert choose([candidate(0, 0.4, 0.3), flexible, burnt], CEILING, 1.0).step == 200


def test_more_than_the_pictures_own_likeness_earns_nothing():
    assert likeness_of(np.array([0.9]), np.array([0.4]), CEILING) == 1.0
    assert obedience_of(np.array([0.5]), np.array([0.3])) == 1.0


def test_blank_pictures_and_a_word_that_never_left_the_start_are_vetoed():
    blank, lost, good = candidate(20, 0.79, 0.3, blank=0.5), candidate(40, 0.39, 0.3), candidate(60, 0.6, 0.3)
    choice = choose([candidate(0, 0.4, 0.3), blank, lost, good], CEILING, 0.5)
    assert choice.step == 60
    assert set(choice.vetoes) == {("base", 20), ("base", 40)}


def test_when_nothing_is_better_than_the_start_the_advice_says_what_to_look_at():
    choice = choose([candidate(0, 0.6, 0.3), candidate(20, 0.4, 0.3), candidate(40, 0.5, 0.3)], CEILING, 0.5)
    assert "No checkpoint is better than the start" in choice.advice[0]


def test_each_run_is_measured_from_its_own_start():
    first = [candidate(0, 0.3, 0.3, "a"), candidate(20, 0.5, 0.3, "a")]
    second = [candidate(0, 0.6, 0.3, "b"), candidate(20, 0.75, 0.3, "b")]
    choice = choose([*first, *second], CEILING, 0.5)
    assert (choice.run, choice.step) == ("b", 20)


def test_prompts_that_say_nothing_besides_the_word_do_not_count_for_obedience():
    def with_silence(c: Candidate) -> Candidate:
        texts = np.where(np.arange(16) < 4, np.nan, c.measured["text_similarity"])
        return Candidate(c.run, c.step, {**c.measured, "text_similarity": texts})

    choice = choose([with_silence(c) for c in (candidate(0, 0.4, 0.3), candidate(20, 0.7, 0.3))], CEILING, 0.5)
    assert np.isfinite(list(choice.scores.values())).all()
