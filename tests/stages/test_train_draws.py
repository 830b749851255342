"""What a run is given: the plan, and draws that are functions of their key."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer

from pseudoword.errors import UserError
from pseudoword.plan import equal_parts, make_plan
from pseudoword.prompts import Vocabulary
from pseudoword.training_prompts import Texts, windows_needed
from stages.train.samples import Sampling, draw_block, draw_sample
from tests.tiny import TOYWORLD

TOKENIZER = CLIPTokenizer.from_pretrained(TOYWORLD / "tokenizer")
NOTHING = np.zeros((1, 1, 77), np.int64)


def sampling(seed: int = 0, **more: object) -> Sampling:
    return Sampling(seed, lambda picture, template, dice: NOTHING + picture, 2, **more)


def samples_of(run: Sampling, updates: range, samples: int, pictures: int, shape: tuple[int, ...] = (4, 2, 2)):
    return [
        [draw_sample(run, update, index, samples, [shape] * pictures, 1000) for index in range(samples)]
        for update in updates
    ]


def test_draws_do_not_depend_on_how_updates_are_grouped():
    shapes, places = [(4, 2, 2)] * 3 + [(4, 2, 4)] * 2, [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]

    def draw(updates: range):
        return draw_block(
            {0: sampling(3), 2: sampling(4)}, updates, 4, shapes, places, 1000, *[torch.device("cpu")] * 2
        )

    whole = draw(range(9))
    for part in (range(0, 1), range(4, 9), range(8, 9)):
        own = draw(part)
        for at, update in enumerate(part):
            for ours, theirs in zip(own.of_step(at, 99), whole.of_step(update, 99), strict=True):
                for field, value in vars(ours).items():
                    assert np.array_equal(np.asarray(value), np.asarray(getattr(theirs, field))), (
                        field
                    )  # None is itself


def test_each_pass_sees_every_picture_once_and_each_update_every_noise_level():
    drawn = samples_of(sampling(), range(10), 6, 6)
    assert all(sorted(sample.picture for sample in update) == list(range(6)) for update in drawn)
    assert all(sorted(sample.t * 6 // 1000 for sample in update) == list(range(6)) for update in drawn)
    assert len({tuple(sample.picture for sample in update) for update in drawn}) > 1


def test_independent_noise_levels_cover_all_levels_but_not_every_bin_each_time():
    drawn = samples_of(sampling(stratified=False), range(100), 6, 6)
    levels = [sample.t for update in drawn for sample in update]
    assert min(levels) < 20 and max(levels) > 980
    assert any(len({sample.t * 6 // 1000 for sample in update}) < 6 for update in drawn)


def test_a_picture_meets_every_template_and_not_one_for_the_whole_run():
    run = Sampling(0, lambda picture, template, dice: NOTHING + 10 * picture + template, 2)
    drawn = [sample for update in samples_of(run, range(20), 3, 3) for sample in update]
    assert {int(sample.ids[0, 0, 0]) for sample in drawn} == {0, 1, 10, 11, 20, 21}


def test_noise_is_standard_normal_and_all_of_it_differs():
    noise = np.stack([s.noise for update in samples_of(sampling(), range(20), 8, 3, (4, 8, 8)) for s in update])
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1) < 0.02
    assert len(np.unique(noise[:, 0, 0, 0])) == 160


def test_one_draw_of_the_posterior_stays_with_its_picture():
    drawn = [sample for update in samples_of(sampling(once=True), range(5), 4, 2) for sample in update]
    for picture in (0, 1):
        own = [sample.posterior for sample in drawn if sample.picture == picture]
        assert all(np.array_equal(own[0], other) for other in own)
    assert not np.array_equal(drawn[0].posterior, next(s for s in drawn if s.picture != drawn[0].picture).posterior)
    fresh = [sample.posterior for update in samples_of(sampling(), range(2), 2, 1) for sample in update]
    assert not np.array_equal(fresh[0], fresh[1])


def test_a_noise_offset_moves_whole_channels():
    plain, moved = (samples_of(sampling(noise_offset=offset), range(1), 1, 1)[0][0].noise for offset in (0.0, 0.5))
    difference = (moved - plain).reshape(4, -1)
    assert np.allclose(difference, difference[:, :1], atol=1e-6)
    assert len(np.unique(difference[:, 0].round(4))) == 4


# ---------------------------------------------------------------------------------------------- prompts


def texts(captions: list[str], **more: object) -> Texts:
    return Texts(
        Vocabulary([TOKENIZER], [len(TOKENIZER)], "snorf", 2), "snorf", ["a [name], [filewords]"], captions, **more
    )


def prompts_of(own: Texts, number: int = 200) -> list[str]:
    spoken: list[str] = []

    class Listening(Vocabulary):
        def encode(self, prompt: str):
            spoken.append(prompt)
            return NOTHING

    heard = Listening([TOKENIZER], [len(TOKENIZER)], "snorf", 2)
    for index in range(number):
        Texts(heard, **{k: v for k, v in vars(own).items() if k != "vocabulary"}).draw(
            0, 0, np.random.default_rng(index)
        )
    return spoken


def test_a_caption_is_left_whole_unless_something_else_is_asked_for():
    assert set(prompts_of(texts(["red, in snow, left"]))) == {"a snorf, red, in snow, left"}


def test_tags_are_shuffled_and_none_is_lost():
    drawn = set(prompts_of(texts(["a, b, c"], shuffle_tags=True)))
    assert drawn == {f"a snorf, {x}, {y}, {z}" for x, y, z in permutations("abc")}


def test_each_tag_is_dropped_as_often_as_asked_for():
    drawn = prompts_of(texts(["a, b"], tag_dropout=0.25), 2000)
    assert abs(sum(", b" in prompt for prompt in drawn) / 2000 - 0.75) < 0.03
    assert "a snorf" in drawn and "a snorf, a, b" in drawn


def test_a_whole_caption_is_dropped_as_often_as_asked_for():
    drawn = prompts_of(texts(["a, b"], caption_dropout=0.5), 1000)
    assert set(drawn) == {"a snorf", "a snorf, a, b"}
    assert abs(drawn.count("a snorf") / 1000 - 0.5) < 0.05


def test_windows_suffice_for_any_order_of_the_tags():
    caption = ", ".join(f"tag {number} of many" for number in range(40))
    for vectors in (1, 40, 75):
        narrow = Vocabulary([TOKENIZER], [len(TOKENIZER)], "snorf", vectors)
        own = replace(texts([caption], shuffle_tags=True), vocabulary=narrow)
        windows = windows_needed(own)
        assert windows <= 12
        wide = replace(own, vocabulary=Vocabulary([TOKENIZER], [len(TOKENIZER)], "snorf", vectors, windows))
        assert {wide.draw(0, 0, np.random.default_rng(index)).shape for index in range(50)} == {(1, windows, 77)}


# ---------------------------------------------------------------------------------------------- the plan


@pytest.mark.parametrize(
    ("pictures", "runs", "batch", "accumulation", "expected"),
    [
        (15, 1, "auto", "auto", (300, 15, 15)),
        (17, 1, "auto", "auto", (300, 9, 17)),
        (40, 1, "auto", "auto", (300, 14, 40)),
        (15, 4, "auto", "auto", (300, 15, 15)),
        (15, 99, "auto", "auto", (300, 16, 15)),
        (33, 1, 3, "auto", (300, 3, 33)),
        (33, 1, 3, 11, (300, 3, 33)),
        (17, 1, 1, "auto", (300, 1, 17)),
        (20, 1, 4, 1, (1500, 4, 4)),
        (3, 1, 8, "auto", (300, 3, 3)),
        (3, 1, 8, 1, (112, 8, 8)),
        (1, 1, "auto", "auto", (300, 1, 1)),
    ],
)
def test_auto_makes_an_update_see_each_picture_once(
    pictures: int, runs: int, batch: int | str, accumulation: int | str, expected: tuple[int, int, int]
):
    plan = make_plan(pictures, runs, "auto", batch, accumulation, "auto")
    assert (plan.steps, plan.rows, plan.samples) == expected
    assert plan.saved[0] == 0
    assert plan.saved[-1] == plan.steps


@pytest.mark.parametrize(
    ("rows", "most", "expected"), [(48, 16, 16), (200, 16, 16), (17, 16, 9), (128, 3, 3), (5, 9, 5)]
)
def test_no_more_rows_at_once_than_fit_however_many_runs(rows: int, most: int, expected: int):
    assert equal_parts(rows, most) == expected
    assert make_plan(5, 200, "auto", "auto", "auto", "auto").rows <= 16


def test_accumulation_without_batch_is_refused():
    with pytest.raises(UserError, match=r"train\.batch"):
        make_plan(10, 1, "auto", "auto", 4, "auto")


def test_a_plan_ends_with_the_last_schedule_and_keeps_each_end():
    plan = make_plan(10, 2, 300, "auto", "auto", 20).ending([10, 45])
    assert (plan.steps, plan.saved) == (45, (0, 10, 20, 40, 45))
