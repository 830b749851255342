"""The drawn world: equal keys draw equal pictures, new things are new, captions are true, the shipped model fits."""

import json
import re
from pathlib import Path

import numpy as np
from numpy.random import default_rng

from toyworld.captions import caption, draw_subject, plain_caption
from toyworld.pack import LARGEST_MB
from toyworld.render import render_one
from toyworld.world import (
    COLOURS,
    NOUNS,
    NUM_NEW_STYLES,
    NUM_NEW_THINGS,
    SCENES,
    STYLE_WORDS,
    draw,
    new_style,
    new_thing,
    style_of,
    thing_of,
)

MODEL = Path(__file__).parents[2] / "models" / "toyworld"


def test_a_picture_is_a_function_of_its_key():
    first, record = render_one(0, "train", 7, 64)
    again, _ = render_one(0, "train", 7, 64)
    other, _ = render_one(0, "train", 8, 64)
    assert first.shape == (64, 64, 3)
    assert (first == again).all()
    assert (first != other).any()
    assert json.loads(record)["captions"]


def test_new_things_and_styles_are_none_of_the_named_ones():
    assert not {new_thing(at) for at in range(NUM_NEW_THINGS)} & {thing_of(noun) for noun in NOUNS}
    assert not {new_style(at) for at in range(NUM_NEW_STYLES)} & {style_of(word) for word in STYLE_WORDS}
    assert NUM_NEW_THINGS >= 8
    assert NUM_NEW_STYLES >= 4


def test_each_scene_can_be_drawn_at_any_resolution_and_looks_like_no_other():
    means = [draw(new_thing(0), scene, default_rng(0), resolution=32).mean((0, 1)) for scene in SCENES]
    assert min(np.abs(a - b).max() for at, a in enumerate(means) for b in means[:at]) > 2


def test_captions_say_only_what_is_drawn():
    random = default_rng(0)
    for _ in range(500):
        subject = draw_subject(random)
        drawn = {subject.thing.colour, subject.thing.second_colour, subject.colour}
        for text in (caption(subject, random), plain_caption(subject)):
            words = set(re.findall(r"\w+", text))
            assert words & set(NOUNS) == ({subject.noun} if subject.noun else set())
            assert words & set(COLOURS) <= drawn
            assert words & set(SCENES) <= {subject.scene}
            assert words & set(STYLE_WORDS) <= {subject.style}


def test_the_shipped_model_is_small_and_its_card_has_its_figures():
    megabytes = sum(path.stat().st_size for path in MODEL.rglob("*") if path.is_file()) / 1e6
    assert megabytes <= LARGEST_MB
    card = (MODEL / "README.md").read_text()
    for name, value in json.loads((MODEL / "check.json").read_text()).items():
        assert any(f"| {shown} |" in card for shown in (f"{value:.1%}", f"{value:.2f}", f"{value:.1f}")), name
