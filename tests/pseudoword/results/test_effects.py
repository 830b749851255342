"""Paired differences: their values by hand, and how often they are right on simulated sweeps."""

from itertools import product

import numpy as np
import pytest

from bench.effects import USUAL, simulate
from pseudoword.results.effects import SEED, Trained, interactions, main_effects, mean_difference

RATE, VECTORS = "train.learn_rate", "word.vectors"


def trained(values: dict[tuple[object, ...], list[float]], keys: tuple[str, ...] = (RATE, SEED)) -> list[Trained]:
    return [
        Trained(dict(zip(keys, place, strict=True)), {"likeness": np.array(pictures)})
        for place, pictures in values.items()
    ]


def test_the_interval_of_one_pair_is_that_of_a_paired_t_test():
    """Of 1, 2, 3, 4: mean 2.5, standard error sqrt(5/3 / 4), t at 3 degrees of freedom 3.1824."""
    difference = mean_difference(np.array([[1.0, 2.0, 3.0, 4.0]]))
    assert difference.value == 2.5
    assert difference.high - difference.value == pytest.approx(3.182446 * (5 / 3 / 4) ** 0.5, rel=1e-6)


def test_what_differs_from_training_to_training_widens_the_interval():
    same = np.tile([0.1, 0.2, 0.3, 0.2], (4, 1))
    apart = same + np.array([[-0.2], [0.2], [-0.1], [0.1]])
    narrow, wide = mean_difference(same), mean_difference(apart)
    assert narrow.value == pytest.approx(wide.value)
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_more_comparisons_at_once_widen_the_interval():
    differences = np.random.default_rng(0).normal(0.1, 0.1, (1, 16))
    alone, among_ten = mean_difference(differences), mean_difference(differences, 10)
    assert among_ten.low < alone.low < alone.high < among_ten.high


def test_a_picture_without_a_value_is_left_out_of_all_trainings():
    full, short = np.array([[0.1, 0.3], [0.2, 0.2]]), np.array([[0.1, 9.0, 0.3], [0.2, np.nan, 0.2]])
    assert mean_difference(short) == mean_difference(full)
    assert np.isnan(mean_difference(np.full((2, 3), np.nan)).value)


def test_one_picture_has_no_interval_and_shows_nothing():
    difference = mean_difference(np.array([[0.5]]))
    assert np.isnan(difference.low)
    assert not difference.excludes_zero


def test_a_difference_as_small_as_rounding_is_none():
    assert not mean_difference(np.full((2, 8), 1e-5)).excludes_zero
    assert mean_difference(np.full((2, 8), 1e-2)).excludes_zero


def test_partners_differ_in_the_one_setting_alone_and_the_usual_value_is_the_reference():
    runs = trained({(0.02, 0): [0.9, 0.7], (0.005, 0): [0.5, 0.5], (0.005, 1): [0.4, 0.4], (0.02, 1): [0.6, 0.6],
                    (0.02, 2): [0.0, 0.0]})  # fmt: skip
    (effect,) = main_effects(runs, ["likeness"], {RATE: 0.005})
    assert effect.changes == ((RATE, 0.005, 0.02),)
    assert effect.trainings == 2  # seed 2 has no partner
    assert effect.difference.value == pytest.approx(((0.4 + 0.2) / 2 + 0.2) / 2)


def test_a_seed_has_no_effect_of_its_own():
    assert main_effects(trained({(0.005, 0): [0.1], (0.005, 1): [0.9]}), ["likeness"], {}) == []


def test_an_interaction_is_the_difference_of_differences():
    values = {(0.005, 2): [0.1] * 4, (0.02, 2): [0.3] * 4, (0.005, 4): [0.2] * 4, (0.02, 4): [0.9] * 4}
    (effect,) = interactions(trained(values, (RATE, VECTORS)), ["likeness"], {RATE: 0.005, VECTORS: 2})
    assert effect.difference.value == pytest.approx((0.9 - 0.2) - (0.3 - 0.1))
    assert {change[0] for change in effect.changes} == {RATE, VECTORS}


def test_settings_that_were_never_tried_together_have_no_interaction():
    values: dict[tuple[object, ...], list[float]] = {(0.005, 2): [0.1] * 4, (0.02, 2): [0.3] * 4, (0.005, 4): [0.2] * 4}
    assert interactions(trained(values, (RATE, VECTORS)), ["likeness"], {}) == []


def test_planted_effects_are_found_and_no_others():
    """60 simulated sweeps of each kind; `python -m bench.effects` prints it of more."""
    random = np.random.default_rng(1)
    found = false = 0
    for _ in range(60):
        effects = main_effects(simulate(random, {RATE: 0.02}), ["likeness"], USUAL)
        found += any(e.difference.low > 0 for e in effects if e.changes[0][2] == 0.02)
        false += any(e.difference.excludes_zero for e in main_effects(simulate(random, {}), ["likeness"], USUAL))
    assert found >= 57
    assert false <= 3


def test_every_pair_of_a_grid_is_used():
    grid = {place: [0.5] * 3 for place in product((0.005, 0.02), (2, 4, 8), (0, 1))}
    effects = main_effects(trained(grid, (RATE, VECTORS, SEED)), ["likeness"], {RATE: 0.005, VECTORS: 2})
    assert {effect.changes[0]: effect.trainings for effect in effects} == {
        (RATE, 0.005, 0.02): 6, (VECTORS, 2, 4): 4, (VECTORS, 2, 8): 4,
    }  # fmt: skip
